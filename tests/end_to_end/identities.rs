//! A node is its key: enrolled with a one-time token, renewed, revoked, and serving whatever becomes of its certificate.

use harness::{Boxes, Caller, NodeOptions, System};
use identity::CredentialFolder;
use kit::{until_ok, wait_for};
use model::api::{InviteRequest, Principal};
use std::ffi::OsString;
use std::path::Path;

/// Short enough that a certificate is renewed several times in a test.
const CERTIFICATE_MS: &str = "2000";

/// A system whose certificates count for a moment.
fn short_lived() -> System {
    System::start_with_options(&["--certificate-ms", CERTIFICATE_MS])
}

fn invited(system: &System, name: &str) -> String {
    let request = InviteRequest {
        principal: Principal::node(name),
        role: None,
        networks: Vec::new(),
        valid_ms: 3_600_000,
    };
    system.ask(system.client.invite(&request)).token
}

/// The how manieth certificate lies in a node's data directory; zero where none does.
fn counter(data: &Path) -> u64 {
    let own = CredentialFolder::find(&data.join("identity")).expect("readable");
    let credential = own.and_then(|own| own.credential().expect("a certificate"));
    credential.map_or(0, |credential| credential.says().counter)
}

fn served(port: u16) {
    until_ok("the software to serve", || {
        Caller::unlabelled(port, 1)?.get("apples")
    });
}

#[test]
fn a_node_that_was_invited_goes_on_by_its_key_and_renews_its_certificate() {
    let mut system = short_lived();
    system.publish(&Boxes::version(1).bundle());
    let port = system.port(1);
    let token = invited(&system, "a");
    let options = NodeOptions::new("a", port).environment("UPSTART_TOKEN", OsString::from(token));
    let mut node = system.node(options);
    system.until_settled(&node, 1);
    // The token is used up; what is renewed is renewed by the key.
    node.options.environment.clear();
    wait_for("a second certificate", || counter(&node.data) >= 2);
    let listed = system.ask(system.client.identities());
    assert_eq!(listed.invitations, []);
    assert!(
        listed.identities[0].networks.is_empty(),
        "an invitation gives no address"
    );
    // The server is away until the certificate has expired, and the node is started without it.
    system.server.kill();
    node.end_agent();
    node.stop_software();
    node.start_agent();
    served(port);
    let before = counter(&node.data);
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    system.server.resume();
    wait_for("a certificate after its expiry", || {
        counter(&node.data) > before
    });
    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&node, 2);
}

/// A node whose key is revoked takes part in nothing any more, and its software serves; another invitation takes it in again.
#[test]
fn a_revoked_node_serves_on_and_comes_back_with_another_token() {
    let system = System::with(&Boxes::version(1).bundle());
    let port = system.port(1);
    let token = invited(&system, "a");
    let options = NodeOptions::new("a", port).environment("UPSTART_TOKEN", OsString::from(token));
    let mut node = system.node(options);
    system.until_settled(&node, 1);
    system.ask(system.client.revoke(&Principal::node("a")));
    node.until_said("the key of node:a is revoked");
    served(port);
    system.publish(&Boxes::version(2).bundle());
    node.kill_agent();
    node.start_agent();
    served(port);
    node.until_said("it goes on as its journal says");
    node.kill_agent();
    let token = OsString::from(invited(&system, "a"));
    node.options.environment = vec![("UPSTART_TOKEN".to_owned(), token)];
    node.start_agent();
    system.until_settled(&node, 2);
}
