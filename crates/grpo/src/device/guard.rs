//! Devices that fail at work: burn reports a lost device, or one without memory, by a panic.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{DeviceError, DeviceInfo};

/// The result of `work` on a device; a panic there as an error, after which nothing that `work` changes may be used. A panic on the
/// CPU, where `device` is none, is a bug and passes through.
pub(crate) fn guard<T, E: From<DeviceError>>(
    device: Option<&DeviceInfo>,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let Some(DeviceInfo { kind, name, .. }) = device else { return work() };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(DeviceError::Failed { kind: *kind, name: name.clone(), reason: message(&*panic) }.into())
    })
}

/// What a panic says.
pub(super) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DeviceKind;

    #[test]
    fn a_panic_on_a_device_is_an_error() {
        let info = DeviceInfo {
            kind: DeviceKind::Vulkan,
            name: "a GPU".to_string(),
            driver: String::new(),
            is_software: false,
            largest_tensor: None,
            memory: None,
            dtypes: Vec::new(),
        };
        let result = guard(Some(&info), || -> Result<(), DeviceError> { panic!("out of memory: {} MiB", 7) });
        let error = result.unwrap_err().to_string();
        assert!(
            error.starts_with("work on the Vulkan device a GPU failed: out of memory: 7 MiB; "),
            "{error}"
        );
        assert_eq!(guard(Some(&info), || Ok::<_, DeviceError>(3)), Ok(3));
        let passes = catch_unwind(|| guard(None, || -> Result<(), DeviceError> { panic!("a bug") }));
        assert_eq!(message(&*passes.unwrap_err()), "a bug");
    }
}
