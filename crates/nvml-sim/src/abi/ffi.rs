//! The border to C: pointers wrapped once, on the caller's promise, and used through checked methods after that.
#![allow(unsafe_code, reason = "callers hand over raw pointers")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong};
use std::mem::MaybeUninit;

use crate::code::Code;

/// An argument of an exported function.
pub(super) trait Argument {
    /// How its body sees it.
    type Wrapped;

    /// Wraps it.
    ///
    /// # Safety
    /// A pointer must be NULL, or valid for what the function's documentation says is read or written.
    unsafe fn wrap(self) -> Self::Wrapped;
}

/// Somewhere to write, or NULL. Handles are wrapped too and only their address is looked at.
pub(super) struct Out<T>(*mut T);

/// A text, or NULL.
pub(super) struct Text(*const c_char);

impl<T> Clone for Out<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Out<T> {}

impl<T> Argument for *mut T {
    type Wrapped = Out<T>;

    unsafe fn wrap(self) -> Out<T> {
        Out(self)
    }
}

impl Argument for *const c_char {
    type Wrapped = Text;

    unsafe fn wrap(self) -> Text {
        Text(self)
    }
}

macro_rules! plain {
    ($($type:ty),*) => {$(
        impl Argument for $type {
            type Wrapped = Self;

            unsafe fn wrap(self) -> Self {
                self
            }
        }
    )*};
}

plain!(c_int, c_uint, c_ulonglong);

impl<T> Out<T> {
    pub(super) fn address(self) -> usize {
        self.0.addr()
    }

    pub(super) fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// Refuses NULL.
    pub(super) fn required(self) -> Result<Self, Code> {
        if self.is_null() { Err(Code::INVALID_ARGUMENT) } else { Ok(self) }
    }

    pub(super) fn put(self, value: T) -> Result<(), Code> {
        let Self(place) = self.required()?;
        // SAFETY: not NULL, so valid for one T, by the promise of `wrap`; C promises no alignment.
        unsafe { place.write_unaligned(value) };
        Ok(())
    }

    /// Fills an array; the caller has said that there is room for so many.
    pub(super) fn put_all(self, values: impl Iterator<Item = T>) -> Result<(), Code> {
        let Self(place) = self.required()?;
        for (index, value) in values.enumerate() {
            // SAFETY: the array has an entry for each value, by the promise of `wrap`.
            unsafe { place.add(index).write_unaligned(value) };
        }
        Ok(())
    }

    /// One entry of an array.
    pub(super) fn entry(self, index: usize) -> Self {
        // An address only; what lies there is promised where it is used.
        Self(self.0.wrapping_add(index))
    }

    /// An array of so many entries as one of another type, and how many of those lie within it.
    pub(super) fn reinterpret<U>(self, count: usize) -> (Out<U>, usize) {
        (Out(self.0.cast()), count.saturating_mul(size_of::<T>()) / size_of::<U>().max(1))
    }

    /// A field.
    ///
    /// # Safety
    /// The offset and the type must be those of a field of `T`.
    pub(super) unsafe fn field<U>(self, offset: usize) -> Out<U> {
        Out(self.0.cast::<u8>().wrapping_add(offset).cast())
    }
}

impl<T: Copy> Out<T> {
    pub(super) fn get(self) -> Result<T, Code> {
        let Self(place) = self.required()?;
        // SAFETY: not NULL, so valid for one T, by the promise of `wrap`; nvml.h's types are plain data.
        Ok(unsafe { place.cast::<MaybeUninit<T>>().read_unaligned().assume_init() })
    }
}

impl Out<c_char> {
    /// Writes a text with its final NUL, which must fit.
    pub(super) fn put_text(self, length: c_uint, text: &[u8]) -> Result<(), Code> {
        self.required()?;
        if text.len() >= length as usize {
            return Err(Code::INSUFFICIENT_SIZE);
        }
        self.put_cropped(length, text)
    }

    /// Writes as much of a text as fits before its final NUL.
    pub(super) fn put_cropped(self, length: c_uint, text: &[u8]) -> Result<(), Code> {
        let room = (length as usize).checked_sub(1).ok_or(Code::INVALID_ARGUMENT)?;
        let text = text.iter().take(room).copied().chain([0]);
        self.put_all(text.map(|byte| byte as c_char))
    }
}

impl Text {
    pub(super) fn get(&self) -> Result<&str, Code> {
        if self.0.is_null() {
            return Err(Code::INVALID_ARGUMENT);
        }
        // SAFETY: not NULL, so a text with a final NUL, by the promise of `wrap`.
        unsafe { CStr::from_ptr(self.0) }.to_str().map_err(|_| Code::INVALID_ARGUMENT)
    }
}

/// A text in a field of fixed size.
pub(super) fn fixed<const N: usize>(text: &str) -> [c_char; N] {
    let mut field = [0; N];
    let room = N.saturating_sub(1);
    for (place, byte) in field.iter_mut().zip(text.bytes().take(room)) {
        *place = byte as c_char;
    }
    field
}

/// `NVML_STRUCT_VERSION` of nvml.h.
pub(super) fn struct_version<T>(version: u32) -> u32 {
    size_of::<T>() as u32 | version << 24
}

/// A pointer that was read from a structure of the caller's.
pub(super) fn inner<T, U>(_structure: Out<T>, pointer: *mut U) -> Out<U> {
    // Promised together with the structure.
    Out(pointer)
}
