//! A stretch of a device: a disk, a partition, the inside of an array. Readers of formats get one and cannot leave it.

use super::device::ReadAt;
use std::io;

/// Some bytes of a device, from `start` on.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    device: &'a dyn ReadAt,
    start: u64,
    length: u64,
}

impl<'a> Place<'a> {
    /// `length` bytes from `start` on; what lies beyond the end of the device is cut off.
    #[must_use]
    pub fn new(device: &'a dyn ReadAt, start: u64, length: u64) -> Self {
        let start = start.min(device.size());
        Self { device, start, length: length.min(device.size() - start) }
    }

    /// The whole device.
    #[must_use]
    pub fn whole(device: &'a dyn ReadAt) -> Self {
        Self::new(device, 0, device.size())
    }

    /// A part of this place, counted from its begin.
    #[must_use]
    pub fn within(&self, start: u64, length: u64) -> Self {
        let start = start.min(self.length);
        Self { device: self.device, start: self.start + start, length: length.min(self.length - start) }
    }

    /// Where it begins on the device.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// How long it is.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Some bytes; `None` when they do not all lie in the place.
    ///
    /// # Errors
    /// Of the device.
    pub fn bytes(&self, offset: u64, length: usize) -> io::Result<Option<Vec<u8>>> {
        if offset.checked_add(length as u64).is_none_or(|end| end > self.length) {
            return Ok(None);
        }
        // Devices are read in whole sectors anyway; the kernel's cache makes small reads cheap.
        let mut buffer = vec![0; length];
        self.device.read_at(self.start + offset, &mut buffer)?;
        Ok(Some(buffer))
    }
}

impl ReadAt for Place<'_> {
    fn size(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.device.read_at(self.start + offset, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_is_read() {
        let device: Vec<u8> = (0..100).collect();
        let place = Place::new(&device, 10, 20);
        assert_eq!(place.bytes(18, 2).unwrap(), Some(vec![28, 29]));
        assert_eq!((place.bytes(19, 2).unwrap(), place.bytes(u64::MAX, 2).unwrap()), (None, None));
        assert!(place.read_at(19, &mut [0; 2]).is_err());
        let inner = place.within(15, 100);
        assert_eq!((inner.start(), inner.length(), place.within(50, 1).length()), (25, 5, 0));
        let beyond = Place::new(&device, 200, 5);
        assert_eq!((beyond.start(), beyond.length()), (100, 0));
        assert_eq!(Place::new(&device, 90, u64::MAX).length(), 10);
    }
}
