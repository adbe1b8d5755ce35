//! Memory of this process.

/// Peak memory of this process so far, in bytes; none if the system does not report it.
#[cfg(target_os = "linux")]
pub fn peak_memory() -> Option<u64> {
    // `getrusage` would count the program that started this one.
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kib)
}

/// Peak memory of this process so far, in bytes; none if the system does not report it.
#[cfg(target_os = "macos")]
pub fn peak_memory() -> Option<u64> {
    use nix::sys::resource::{UsageWho, getrusage};
    getrusage(UsageWho::RUSAGE_SELF).ok()?.max_rss().try_into().ok()
}

/// Peak memory of this process so far, in bytes; none if the system does not report it.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub fn peak_memory() -> Option<u64> {
    None
}
