//! A call as a component is asked it.

use bytes::Bytes;
use call::{Body, Call, HttpCall, Places};

use crate::bindings::upstart::adapter::{messages as wit, types};
use crate::operation::ComponentOperation;
use crate::state::Intent;

/// A call, whole, and what it is.
pub(crate) struct AskedCall<'s> {
    pub(crate) operation: &'s ComponentOperation,
    /// A request of HTTP without its body.
    pub(crate) call: Call,
    pub(crate) body: Bytes,
    pub(crate) request: wit::Call,
    pub(crate) caller: types::Caller,
    pub(crate) key: Option<String>,
    /// Leave for this adapter and those below.
    pub(crate) places: Places,
}

impl AskedCall<'_> {
    /// The call as it came.
    pub(crate) fn whole(&self) -> Call {
        let call = match &self.call {
            Call::Http(call) => call,
            Call::Message(call) => return Call::Message(call.clone()),
        };
        let body = if self.body.is_empty() {
            Body::Empty
        } else {
            Body::Bytes(self.body.clone())
        };
        Call::Http(HttpCall {
            head: call.head.clone(),
            body,
            context: call.context.clone(),
        })
    }

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
            form: self.call.form(),
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
