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
}
