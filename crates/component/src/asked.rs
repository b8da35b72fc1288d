//! A call as a component is asked it.

use bytes::Bytes;
use call::{Call, Form, Places};

use crate::bindings::upstart::adapter::{messages as wit, types};
use crate::operation::ComponentOperation;
use crate::state::Intent;

/// A call, whole, and what it is.
pub(crate) struct AskedCall<'s> {
    pub(crate) operation: &'s ComponentOperation,
    pub(crate) call: Call,
    pub(crate) body: Bytes,
    pub(crate) request: wit::Call,
    pub(crate) caller: types::Caller,
    pub(crate) key: Option<String>,
    /// Leave for this adapter and those below.
    pub(crate) places: Places,
}

impl AskedCall<'_> {
    /// What is written down before the first delegate.
    pub(crate) fn intent(&self) -> Intent {
        let pair = |header: &wit::Header| (header.name.clone(), header.value.clone());
        let (method, target, headers) = match &self.request {
            wit::Call::Http(request) => {
                let headers = request.headers.iter().map(pair).collect();
                (request.method.clone(), request.target.clone(), headers)
            }
            wit::Call::Resp(_) | wit::Call::Message(_) => Default::default(),
        };
        Intent {
            form: Form::of(&self.call.head.extensions),
            key: self.key.clone(),
            version: self.caller.version,
            address: self.caller.address.clone(),
            service: self.caller.service.clone(),
            observed: false,
            method,
            target,
            headers,
            body: self.body.to_vec(),
        }
    }
}
