//! Calls the user's methods at the lowest cost that the C API allows: by the vectorcall protocol, with the receiver of
//! a bound method passed as an ordinary argument. So no bound method is unpacked and no argument tuple is created.

#![expect(unsafe_code, reason = "PyO3 has no safe form of a vectorcall with the receiver as an argument")]

use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

/// A user function that takes one or two values.
pub(crate) struct Callable {
    function: Py<PyAny>,
    receiver: Option<Py<PyAny>>,
}

impl Callable {
    pub(crate) fn new(callable: &Bound<'_, PyAny>) -> PyResult<Self> {
        let methods = callable.py().import("types")?.getattr("MethodType")?;
        if !callable.is_instance(&methods)? {
            return Ok(Self { function: callable.clone().unbind(), receiver: None });
        }
        let function = callable.getattr("__func__")?.unbind();
        let receiver = callable.getattr("__self__")?.unbind();
        Ok(Self { function, receiver: Some(receiver) })
    }

    #[inline]
    pub(crate) fn call<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.vectorcall(value.py(), [ptr::null_mut(), self.receiver(), value.as_ptr()])
    }

    #[inline]
    pub(crate) fn call_with_state<'py>(
        &self,
        value: &Bound<'py, PyAny>,
        state: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.vectorcall(value.py(), [ptr::null_mut(), self.receiver(), value.as_ptr(), state.as_ptr()])
    }

    fn receiver(&self) -> *mut ffi::PyObject {
        self.receiver.as_ref().map_or(ptr::null_mut(), Py::as_ptr)
    }

    /// `arguments` begins with a free slot, which the callee may use as scratch, followed by the slot of the receiver.
    #[inline]
    fn vectorcall<'py, const COUNT: usize>(
        &self,
        py: Python<'py>,
        arguments: [*mut ffi::PyObject; COUNT],
    ) -> PyResult<Bound<'py, PyAny>> {
        let first = if self.receiver.is_some() { 1 } else { 2 };
        // SAFETY: the arguments are alive, borrowed for the call; the slot before the first may be overwritten, as the
        // flag says; the result is a new reference, or null with an exception set.
        unsafe {
            let given = (COUNT - first) | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
            let result =
                ffi::PyObject_Vectorcall(self.function.as_ptr(), arguments.as_ptr().add(first), given, ptr::null_mut());
            Bound::from_owned_ptr_or_err(py, result)
        }
    }
}
