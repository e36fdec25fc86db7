//! How a role of Stead tells its shim that it is ready, which ends the wait of an upgrade.

use std::{fs::File, io::Write, os::fd::FromRawFd};

use crate::wire::READY_FD;

/// Says "ready" to the shim this process runs under; does nothing without one. Call it once, when
/// the listeners are open. The descriptor is closed after.
pub fn say() {
    let Some(number) = std::env::var(READY_FD).ok().and_then(|text| text.parse().ok()) else { return };
    if number != crate::shim::READY_DESCRIPTOR {
        return;
    }
    // SAFETY: the shim opened this descriptor for us under this number before exec; the variable says
    // so, and nothing else in this process knows of it.
    let mut pipe = unsafe { File::from_raw_fd(number) };
    let _ = pipe.write_all(b"1");
}
