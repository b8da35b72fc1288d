//! What is kept in files: keys, certificates, requests.

use crate::{Authority, CertificateTerms, CredentialFolder, IdentityError, KeyRequest, Pin};
use model::api::Principal;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[test]
fn an_authority_is_made_once_and_its_file_is_its_owners_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("authority.pem");
    let authority = Authority::open(&path).expect("made");
    let again = Authority::open(&path).expect("read");
    assert_eq!(again.pin(), authority.pin());
    assert_eq!(again.pin().to_string().parse::<Pin>(), Ok(authority.pin()));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("set");
    let open = Authority::open(&path).expect_err("others can read it");
    assert!(matches!(open, IdentityError::Open { mode: 0o640, .. }));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("set");
    std::fs::write(&path, "nothing").expect("written");
    let damaged = Authority::open(&path).expect_err("damaged");
    assert!(matches!(damaged, IdentityError::Damaged { .. }));
}

#[test]
fn what_is_no_request_is_refused_and_so_is_one_that_somebody_has_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = CredentialFolder::open(folder.path()).expect("made");
    let good = folder.request().expect("signed");
    KeyRequest::read(&good).expect("a request");
    let long = "a".repeat(20_000);
    for bad in ["", "-----BEGIN CERTIFICATE REQUEST-----", &long] {
        KeyRequest::read(bad).expect_err(bad);
    }
    let parsed = pem::parse(&good).expect("a PEM");
    let bytes = parsed.contents();
    for place in 0..bytes.len() {
        let mut bytes = bytes.to_vec();
        bytes[place] ^= 1;
        let changed = crate::files::pem("CERTIFICATE REQUEST", &bytes);
        let read = KeyRequest::read(&changed);
        // What the signature does not cover is how it is encoded.
        if let Ok(read) = read {
            let was = KeyRequest::read(&good).expect("a request");
            assert_eq!(read.key(), was.key(), "at {place}");
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, mode).expect("set");
}

/// Servers that start at once over one folder are servers of one authority.
#[test]
fn of_several_that_make_an_authority_at_once_one_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("authority.pem");
    let pins: Vec<Pin> = std::thread::scope(|scope| {
        let begun: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| Authority::open(&path).expect("made").pin()))
            .collect();
        begun
            .into_iter()
            .map(|one| one.join().expect("no panic"))
            .collect()
    });
    let kept = Authority::open(&path).expect("kept").pin();
    assert!(pins.iter().all(|pin| *pin == kept), "{pins:?}");
}

/// Somebody else's key would be known to somebody else.
#[test]
fn a_file_that_another_user_has_put_there_is_not_used() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can give a file away");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("authority.pem");
    Authority::open(&path).expect("made");
    std::os::unix::fs::chown(&path, Some(1_234), None).expect("given away");
    let foreign = Authority::open(&path).expect_err("not its own");
    assert!(
        matches!(foreign, IdentityError::Foreign { owner: 1_234, .. }),
        "{foreign:?}"
    );
}

/// A key in a folder, and certificates of it.
struct Owner {
    folder: tempfile::TempDir,
    authority: Authority,
    own: CredentialFolder,
}

impl Owner {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::open(&folder.path().join("authority.pem")).expect("made");
        let own = CredentialFolder::open(&folder.path().join("own")).expect("made");
        Self {
            folder,
            authority,
            own,
        }
    }

    fn certificate(&self, counter: u64) -> String {
        let request = KeyRequest::read(&self.own.request().expect("signed")).expect("a request");
        let terms = CertificateTerms {
            counter,
            now_ms: 1_800_000_000_000,
            expires_at_ms: 1_800_003_600_000,
        };
        let certified = self
            .authority
            .certify(&request, &Principal::node("n"), terms);
        certified.expect("certified")
    }

    fn kept(&self) -> u64 {
        let kept = self.own.credential().expect("readable");
        kept.expect("a certificate").says().counter
    }
}

/// Of two programs that ask at once one comes late, with the older certificate: shown, it would look like a copy of the key.
#[test]
fn an_older_certificate_never_takes_the_place_of_a_newer_one() {
    let owner = Owner::new();
    let [first, second] = [1, 2].map(|counter| owner.certificate(counter));
    owner.own.keep(&second).expect("of this key");
    let shown = owner.own.keep(&first).expect("of this key");
    assert_eq!((shown.says().counter, owner.kept()), (2, 2));
}

/// Another authority counts for itself: what it certifies takes the place of what the one before has certified often.
#[test]
fn another_authoritys_first_certificate_takes_the_place_of_any() {
    let owner = Owner::new();
    owner.own.keep(&owner.certificate(7)).expect("of this key");
    let other = Authority::open(&owner.folder.path().join("other.pem")).expect("made");
    let first = Owner {
        authority: other,
        own: CredentialFolder::open(&owner.folder.path().join("own")).expect("the same"),
        folder: tempfile::tempdir().expect("a folder"),
    };
    let shown = owner.own.keep(&first.certificate(1)).expect("of this key");
    assert_eq!(shown.pin(), first.authority.pin());
    assert_eq!((shown.says().counter, owner.kept()), (1, 1));
}

/// While one program renews the certificate, another waits, and then finds the new one.
#[test]
fn one_program_at_a_time_renews() {
    let owner = Owner::new();
    owner.own.keep(&owner.certificate(1)).expect("of this key");
    let second = owner.certificate(2);
    let lock = owner.own.lock().expect("locked");
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let _lock = owner.own.lock().expect("locked");
            owner.kept()
        });
        owner.own.keep(&second).expect("of this key");
        drop(lock);
        assert_eq!(other.join().expect("no panic"), 2);
    });
}

/// A certificate is no secret, and everybody may read it; who else can write there puts another in its place.
#[test]
fn a_certificate_may_be_read_by_others_and_not_written() {
    let owner = Owner::new();
    owner.own.keep(&owner.certificate(1)).expect("of this key");
    let file = owner.folder.path().join("own/certificate.pem");
    set_mode(&file, 0o644);
    assert_eq!(owner.kept(), 1);
    set_mode(&file, 0o664);
    let open = owner.own.credential().expect_err("others can change it");
    assert!(
        matches!(open, IdentityError::Writable { mode: 0o664, .. }),
        "{open:?}"
    );
    assert!(open.advice().contains("chmod 644"));
}

/// What kinds of keys can be certified is said to whoever asks with another.
#[test]
fn a_request_of_an_rsa_key_is_refused_with_what_to_use() {
    let made = std::process::Command::new("openssl")
        .args([
            "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=n",
        ])
        .args(["-keyout", "/dev/null"])
        .output();
    let Ok(made) = made else {
        eprintln!("SKIPPED: there is no openssl");
        return;
    };
    let request = String::from_utf8(made.stdout).expect("a PEM");
    assert!(request.contains("CERTIFICATE REQUEST"), "{request}");
    let refused = KeyRequest::read(&request).map(|request| request.key().to_owned());
    let refused = refused.expect_err("refused").to_string();
    assert!(refused.contains("ECDSA P-256"), "{refused}");
}
