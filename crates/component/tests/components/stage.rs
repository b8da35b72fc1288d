//! A chain with a component in it, and software behind that answers with what it was asked.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use call::{
    Answer, Body, BodyLimits, Call, CallContext, Calls, Chain, Conflicts, Delegate, Direction,
    Failure, HttpAnswer, HttpCall, Next, Pending,
};
use component::{ChainPlace, ComponentStep, Declaration, Program};
use component::{StateId, Stores};

pub(crate) const LIMITS: BodyLimits = BodyLimits {
    bytes_max: 1 << 20,
    depth_max: 32,
};

/// Software that answers 200 with the body that it was sent, and counts.
#[derive(Clone, Default)]
pub(crate) struct Software {
    pub(crate) calls: Arc<AtomicU64>,
    /// Never answers.
    pub(crate) mute: bool,
}

impl Delegate for Software {
    fn send<'a>(&'a mut self, call: Call) -> Pending<'a, Result<Answer, Failure>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mute = self.mute;
        Box::pin(async move {
            if mute {
                std::future::pending::<()>().await;
            }
            let call = call.into_http()?;
            let response = http::Response::builder()
                .header("x-method", call.head.method.as_str())
                .header("x-target", call.head.uri.to_string());
            let (head, ()) = response.body(()).expect("valid").into_parts();
            let body = call.body;
            Ok(HttpAnswer { head, body }.into())
        })
    }
}

/// An adapter that takes its time and changes nothing.
pub(crate) struct Pause;

impl Calls for Pause {
    fn handle<'a>(
        &'a self,
        call: Call,
        mut next: Next<'a>,
    ) -> Pending<'a, Result<Answer, Failure>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            next.delegate(call).await
        })
    }
}

/// A call.
pub(crate) fn call(method: &str, target: &str, body: &str) -> Call {
    let request = http::Request::builder().method(method).uri(target);
    let (head, ()) = request
        .header("x-kept", "yes")
        .body(())
        .expect("valid")
        .into_parts();
    let body = match body {
        "" => Body::Empty,
        text => Body::Bytes(Bytes::copy_from_slice(text.as_bytes())),
    };
    let context = CallContext::new(LIMITS);
    Call::Http(HttpCall {
        head,
        body,
        context,
    })
}

/// A declaration of `guest.wasm`, with this behind its first line.
pub(crate) fn declaration(rest: &str) -> Arc<Declaration> {
    let text = format!("component = \"guest.wasm\"\n{rest}");
    let declared = Declaration::parse("guest.adapter.toml", &text);
    Arc::new(declared.unwrap_or_else(|error| panic!("{error}")))
}

/// A component as the only adapter of a chain, its state in a folder.
pub(crate) struct Stage {
    pub(crate) chain: Chain,
    pub(crate) software: Software,
    pub(crate) stores: Arc<Stores>,
}

impl Stage {
    pub(crate) fn new(component: &[u8], rest: &str, folder: &Path) -> Self {
        Self::of(
            component,
            rest,
            Arc::new(Stores::new(folder)),
            Direction::Past,
        )
    }

    pub(crate) fn of(
        component: &[u8],
        rest: &str,
        stores: Arc<Stores>,
        direction: Direction,
    ) -> Self {
        let step = step(component, rest, &stores, direction);
        Self {
            chain: Chain::of(direction, vec![step], &Conflicts::default()),
            software: Software::default(),
            stores,
        }
    }

    /// Makes a call; gives status and body.
    pub(crate) async fn ask(
        &self,
        method: &str,
        target: &str,
        body: &str,
    ) -> Result<(u16, String), Failure> {
        let mut software = self.software.clone();
        let answer = self.chain.call(call(method, target, body), &mut software);
        let answer = tokio::time::timeout(Duration::from_secs(60), answer);
        let answer = answer.await.expect("an end")?.into_http()?;
        Ok((answer.head.status.as_u16(), text(answer.body)))
    }

    /// Why a call failed, in the adapter's own fault.
    pub(crate) async fn fault(&self, method: &str, target: &str, body: &str) -> String {
        match self.ask(method, target, body).await {
            Err(Failure::Adapter(fault)) => fault.reason,
            other => panic!("{other:?}"),
        }
    }
}

/// A component as an adapter.
pub(crate) fn step(
    component: &[u8],
    rest: &str,
    stores: &Arc<Stores>,
    direction: Direction,
) -> Arc<dyn Calls> {
    step_of(component, rest, stores, 2, direction)
}

/// A component as the adapter of an upgrade.
pub(crate) fn step_of(
    component: &[u8],
    rest: &str,
    stores: &Arc<Stores>,
    upgrade: u32,
    direction: Direction,
) -> Arc<dyn Calls> {
    let versions = match direction {
        Direction::Past => (upgrade - 1, upgrade),
        Direction::Future => (upgrade, upgrade - 1),
    };
    let declaration = declaration(rest);
    let program = Program::compile("guest.wasm", component, declaration.limits());
    let program = program.unwrap_or_else(|error| panic!("{error}"));
    let place = ChainPlace {
        state: StateId { upgrade, direction },
        caller_version: versions.0,
        next_version: versions.1,
    };
    Arc::new(ComponentStep::new(
        declaration,
        program,
        stores.clone(),
        place,
    ))
}

fn text(body: Body) -> String {
    match body {
        Body::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Body::Empty => String::new(),
        Body::Json(json) => {
            let mut text = Vec::new();
            json.write(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        }
        other => panic!("{other:?}"),
    }
}
