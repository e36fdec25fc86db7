//! How a role of Stead tells its shim that it is ready, which ends the wait of an upgrade.

use std::{
    fs::File,
    io::Write,
    os::fd::FromRawFd,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::wire::READY_FD;

static SAID: AtomicBool = AtomicBool::new(false);

/// Says "ready" to the shim this process runs under; does nothing without one, nor a second time.
/// Call it when the listeners are open. The descriptor is closed after.
pub fn say() {
    if SAID.swap(true, Ordering::Relaxed) {
        return;
    }
    let Some(number) = std::env::var(READY_FD).ok().and_then(|text| text.parse().ok()) else { return };
    if number != crate::shim::READY_DESCRIPTOR {
        return;
    }
    // SAFETY: the shim opened this descriptor for us under this number before exec; the variable says
    // so, nothing else in this process knows of it, and we take it only once.
    let mut pipe = unsafe { File::from_raw_fd(number) };
    let _ = pipe.write_all(b"1");
}
