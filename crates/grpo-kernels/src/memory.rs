use burn::tensor::Device;

/// Bytes that a device can hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeviceMemory {
    /// In all; none if it does not say.
    pub total: Option<u64>,
    /// In one tensor; none if there is no limit.
    pub largest_tensor: Option<u64>,
}

impl DeviceMemory {
    /// That of `device`; unknown for the CPU.
    pub fn of(device: &Device) -> Self {
        #[cfg(feature = "cube")]
        if let Some((total, largest)) = crate::cube::limits(device) {
            return Self { total, largest_tensor: Some(largest) };
        }
        let _ = device;
        Self::default()
    }

    /// Bytes that this process has reserved on `device`, in use or kept for later; none for the CPU.
    pub fn reserved(device: &Device) -> Option<u64> {
        #[cfg(feature = "cube")]
        return crate::cube::reserved(device);
        #[cfg(not(feature = "cube"))]
        {
            let _ = device;
            None
        }
    }
}
