//! Whether somebody else can change a path: by an owner, a mode, an access list, of it and of the folders on the way to it.
//!
//! Agents ask it of what they run, publishers of what they sign with. What nobody else can change while it is looked at, nobody changes
//! between the look and the use.

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};

/// Everybody may write.
const BY_OTHERS: u32 = 0o002;
/// The group may write; where there is an access list, somebody on it.
const BY_GROUP: u32 = 0o020;
/// Only owners rename and delete what is in it.
const STICKY: u32 = 0o1000;

/// Who else may do what with a file, and what is made in a folder begins with (acl(5)).
const ACCESS_LIST: &str = "system.posix_acl_access";
const DEFAULT_LIST: &str = "system.posix_acl_default";

/// The longest value of an attribute (xattr(7)).
const LIST_BYTES_MAX: usize = 64 * 1024;

/// Why a path is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum Distrust {
    /// Somebody else owns it or a folder of it, or may write there.
    #[error("{path} {problem}: whoever that is would decide {stake}")]
    Open {
        /// The folder.
        path: PathBuf,
        /// Who.
        problem: String,
        /// What is at stake.
        stake: &'static str,
    },
    /// It cannot be looked at.
    #[error("cannot look at {path}")]
    Look {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Where a path lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathPlace {
    /// Above what is used. In a sticky folder others make files of their own, and the next folder on the way is not theirs.
    Above,
    /// What is used, or in it: whatever is made there may be taken for its user's.
    Within,
}

/// For whom a path is judged.
#[derive(Debug)]
pub struct Judge {
    stake: &'static str,
    user: u32,
    group: u32,
    hidden: Option<u32>,
}

impl Judge {
    /// One for this process; `stake` says what whoever can change a path would decide.
    #[must_use]
    pub fn new(stake: &'static str) -> Self {
        Self {
            stake,
            user: rustix::process::geteuid().as_raw(),
            group: rustix::process::getegid().as_raw(),
            hidden: hidden_owner(),
        }
    }

    /// Looks at a file or folder that is used, and at the way to it.
    ///
    /// # Errors
    /// One of them can be changed by somebody else than root and this process's user.
    pub fn all(&self, path: &Path) -> Result<(), Distrust> {
        let real = self.way(path)?;
        self.look(&real, PathPlace::Within)
    }

    /// Looks at what lies in a folder that was looked at, and where it is a link also at what that leads to.
    ///
    /// # Errors
    /// As for [`Judge::all`].
    pub fn within(&self, path: &Path) -> Result<(), Distrust> {
        self.look(path, PathPlace::Within)?;
        match path.symlink_metadata() {
            Ok(about) if about.is_symlink() => self.all(path),
            _ => Ok(()),
        }
    }

    /// Looks at the folders above a path, as it was given and as it really is, and at what was given, which may be a link. Gives the
    /// real path.
    ///
    /// # Errors
    /// As for [`Judge::all`].
    pub fn way(&self, path: &Path) -> Result<PathBuf, Distrust> {
        let look = |source| Distrust::Look {
            path: path.to_owned(),
            source,
        };
        let given = std::path::absolute(path).map_err(look)?;
        let real = std::fs::canonicalize(path).map_err(look)?;
        for folder in real.ancestors().skip(1).chain(given.ancestors()) {
            self.look(folder, PathPlace::Above)?;
        }
        Ok(real)
    }

    /// Looks at one path, which may be a link. What is not there, nobody else has made.
    ///
    /// # Errors
    /// As for [`Judge::all`].
    pub fn look(&self, path: &Path, place: PathPlace) -> Result<(), Distrust> {
        let stat = match rustix::fs::lstat(path) {
            Err(Errno::NOENT) if place == PathPlace::Within => return Ok(()),
            looked => looked.map_err(cannot_look(path))?,
        };
        if self.hidden == Some(stat.st_uid) {
            return Ok(());
        }
        let problem = match self.problem(&stat, place) {
            None => self.problem_of_lists(path, &stat, place)?,
            found => found,
        };
        match problem {
            None => Ok(()),
            Some(problem) => Err(Distrust::Open {
                path: path.to_owned(),
                problem,
                stake: self.stake,
            }),
        }
    }

    fn problem(&self, stat: &Stat, place: PathPlace) -> Option<String> {
        if stat.st_uid != 0 && stat.st_uid != self.user {
            return Some(format!("belongs to user {}", stat.st_uid));
        }
        if is_open_safely(stat, place) {
            return None;
        }
        if stat.st_mode & BY_OTHERS != 0 {
            return Some("can be written by everybody".to_owned());
        }
        if stat.st_mode & BY_GROUP != 0 && self.is_strange_group(stat.st_gid) {
            return Some(format!("can be written by group {}", stat.st_gid));
        }
        None
    }

    /// Access lists name users and groups beside the mode's.
    fn problem_of_lists(
        &self,
        path: &Path,
        stat: &Stat,
        place: PathPlace,
    ) -> Result<Option<String>, Distrust> {
        if is_open_safely(stat, place) {
            return Ok(None);
        }
        if let Some(who) = self.named(path, ACCESS_LIST, stat.st_gid)? {
            return Ok(Some(format!("can be written by {who}, as its ACL says")));
        }
        if place == PathPlace::Above {
            return Ok(None);
        }
        let who = self.named(path, DEFAULT_LIST, stat.st_gid)?;
        Ok(who.map(|who| {
            format!("lets what is made in it be written by {who}, as its default ACL says")
        }))
    }

    /// A stranger whom this list lets write.
    fn named(&self, path: &Path, list: &str, group: u32) -> Result<Option<String>, Distrust> {
        let mut bytes = vec![0; LIST_BYTES_MAX];
        match rustix::fs::lgetxattr(path, list, &mut bytes[..]) {
            Ok(length) => Ok(self.writer(&bytes[..length], group)),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
            Err(error) => Err(cannot_look(path)(error)),
        }
    }

    /// A stranger whom a list lets write: a version, then entries of a kind, rights and a number (linux/posix_acl_xattr.h).
    fn writer(&self, list: &[u8], group: u32) -> Option<String> {
        const WRITE: u16 = 2;
        let entries = list.get(4..)?.chunks_exact(8).map(|entry| {
            let short = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
            let number = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
            (short(0), short(2), number)
        });
        let mask = entries.clone().find(|(kind, ..)| *kind == 0x10);
        let mask = mask.map_or(u16::MAX, |(_, rights, _)| rights);
        entries
            .filter(|(_, rights, _)| rights & WRITE != 0)
            .find_map(|(kind, rights, number)| match kind {
                0x02 if rights & mask & WRITE != 0 && number != 0 && number != self.user => {
                    Some(format!("user {number}"))
                }
                0x04 if rights & mask & WRITE != 0 && self.is_strange_group(group) => {
                    Some(format!("group {group}"))
                }
                0x08 if rights & mask & WRITE != 0 && self.is_strange_group(number) => {
                    Some(format!("group {number}"))
                }
                0x20 => Some("everybody".to_owned()),
                _ => None,
            })
    }

    /// Only a group that is named by its user's own number is his alone, as far as can be known: others may be in any other one.
    fn is_strange_group(&self, group: u32) -> bool {
        let private = group == self.group && group == self.user;
        group != 0 && !private
    }
}

/// A link's mode says nothing; in a sticky folder above nobody touches what is another's.
fn is_open_safely(stat: &Stat, place: PathPlace) -> bool {
    let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    is_link || (place == PathPlace::Above && stat.st_mode & STICKY != 0)
}

fn cannot_look(path: &Path) -> impl FnOnce(Errno) -> Distrust {
    move |error| Distrust::Look {
        path: path.to_owned(),
        source: error.into(),
    }
}

/// What lies in a folder; nothing where there is none.
///
/// # Errors
/// It cannot be read.
pub fn listed(folder: &Path) -> Result<Vec<PathBuf>, Distrust> {
    let failed = |source| Distrust::Look {
        path: folder.to_owned(),
        source,
    };
    match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => {
            let paths = entries.map_err(failed)?.map(|entry| Ok(entry?.path()));
            paths.collect::<io::Result<_>>().map_err(failed)
        }
    }
}

/// In a user namespace that does not know all users, the others look like this one: who they are can only be judged outside.
#[must_use]
pub fn hidden_owner() -> Option<u32> {
    let read = |path| std::fs::read_to_string(path).ok();
    let overflow: u32 = read("/proc/sys/fs/overflowuid")?.trim().parse().ok()?;
    let map = read("/proc/self/uid_map")?;
    let known = map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        match (numbers.next(), numbers.nth(1)) {
            (Some(Ok(first)), Some(Ok(length))) => overflow.wrapping_sub(first) < length,
            _ => false,
        }
    });
    (!known).then_some(overflow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{XattrFlags, setxattr};
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::{PermissionsExt, chown};

    const STAKE: &str = "everything";

    fn place() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let place = tempfile::tempdir().expect("a folder");
        let above = std::fs::canonicalize(place.path())
            .expect("there")
            .join("above");
        let data = above.join("data");
        std::fs::create_dir_all(&data).expect("made");
        (place, above, data)
    }

    fn set_mode(path: &Path, mode: u32) {
        set_permissions(path, Permissions::from_mode(mode)).expect("set");
    }

    /// In a sticky folder everybody makes links, and each owner changes his.
    #[test]
    fn a_way_that_goes_by_anothers_link_is_not_trusted() {
        let (_place, above, data) = place();
        let judge = Judge::new(STAKE);
        let open = above.join("open");
        std::fs::create_dir(&open).expect("made");
        set_mode(&open, 0o1777);
        let (link, file) = (open.join("link"), above.join("agent.toml"));
        std::fs::write(&file, "").expect("written");
        set_mode(&file, 0o644);
        std::os::unix::fs::symlink(&data, &link).expect("linked");
        assert!(judge.way(&link).is_ok() && judge.way(&data).is_ok());
        let own = open.join("agent.toml");
        std::os::unix::fs::symlink(&file, &own).expect("linked");
        assert!(judge.all(&own).is_ok());
        if !rustix::process::geteuid().is_root() {
            println!(
                "SKIPPED: a_way_that_goes_by_anothers_link_is_not_trusted: only root gives links away"
            );
            return;
        }
        for anothers in [&link, &own] {
            std::os::unix::fs::lchown(anothers, Some(1234), None).expect("given");
        }
        let told = judge.way(&link).expect_err("another's link").to_string();
        assert!(told.contains("belongs to user 1234"), "{told}");
        assert!(judge.all(&own).is_err());
    }

    #[test]
    fn folders_that_others_change_are_not_trusted() {
        let (_place, above, data) = place();
        let judge = Judge::new(STAKE);
        for (mode, trusted) in [(0o755, true), (0o700, true), (0o777, false), (0o1777, true)] {
            set_mode(&above, mode);
            assert_eq!(judge.all(&data).is_ok(), trusted, "{mode:o}");
        }
        for (mode, trusted) in [(0o777, false), (0o1777, false), (0o711, true)] {
            set_mode(&data, mode);
            assert_eq!(judge.all(&data).is_ok(), trusted, "the directory, {mode:o}");
        }
        if !rustix::process::geteuid().is_root() {
            println!(
                "SKIPPED: folders_that_others_change_are_not_trusted: only root gives folders away"
            );
            return;
        }
        set_mode(&above, 0o775);
        chown(&above, None, Some(1234)).expect("given");
        let told = judge.all(&data).expect_err("a group").to_string();
        assert!(told.contains("by group 1234"), "{told}");
        set_mode(&above, 0o755);
        chown(&above, Some(1234), None).expect("given");
        let told = judge.all(&data).expect_err("an owner").to_string();
        assert!(told.contains("above belongs to user 1234"), "{told}");
    }

    #[test]
    fn a_users_main_group_is_his_alone_only_where_it_has_his_number() {
        let judge = |user, group| Judge {
            stake: STAKE,
            user,
            group,
            hidden: None,
        };
        assert!(!judge(1000, 1000).is_strange_group(1000));
        assert!(judge(1000, 100).is_strange_group(100), "`users`");
        assert!(judge(1000, 1000).is_strange_group(1001));
        assert!(!judge(1000, 100).is_strange_group(0));
    }

    /// An access list that lets a user do this, under this mask.
    fn list(user: u32, rights: u16, mask: u16) -> Vec<u8> {
        let mut bytes = 2_u32.to_le_bytes().to_vec();
        for (kind, rights, number) in [
            (0x01_u16, 7_u16, u32::MAX),
            (0x02, rights, user),
            (0x04, 5, u32::MAX),
            (0x10, mask, u32::MAX),
            (0x20, 1, u32::MAX),
        ] {
            bytes.extend(kind.to_le_bytes());
            bytes.extend(rights.to_le_bytes());
            bytes.extend(number.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn whom_an_access_list_lets_write_is_a_stranger() {
        let (_place, above, data) = place();
        let judge = Judge::new(STAKE);
        let set = |path: &Path, name: &str, list: Vec<u8>| {
            setxattr(path, name, &list, XattrFlags::empty())
        };
        if set(&data, ACCESS_LIST, list(1234, 5, 7)).is_err() {
            println!(
                "SKIPPED: whom_an_access_list_lets_write_is_a_stranger: the file system has no access lists"
            );
            return;
        }
        judge.all(&data).expect("one who may only read");
        set(&data, ACCESS_LIST, list(1234, 7, 5)).expect("set");
        judge.all(&data).expect("one whom the mask forbids it");
        for (path, name) in [
            (&data, ACCESS_LIST),
            (&above, ACCESS_LIST),
            (&data, DEFAULT_LIST),
        ] {
            set(path, name, list(1234, 7, 7)).expect("set");
            let told = judge.all(&data).expect_err(name).to_string();
            assert!(told.contains("written by user 1234"), "{told}");
            rustix::fs::removexattr(path, name).expect("removed");
            set_mode(path, 0o711);
        }
        judge.all(&data).expect("trusted");
    }

    #[test]
    fn what_a_link_leads_to_is_looked_at_too() {
        let (_place, above, data) = place();
        let judge = Judge::new(STAKE);
        let (elsewhere, link) = (above.join("elsewhere"), data.join("link"));
        std::fs::create_dir(&elsewhere).expect("made");
        set_mode(&elsewhere, 0o755);
        std::os::unix::fs::symlink(&elsewhere, &link).expect("linked");
        judge.within(&link).expect("nobody else's");
        set_mode(&elsewhere, 0o777);
        let told = judge.within(&link).expect_err("everybody's").to_string();
        assert!(
            told.contains("elsewhere can be written by everybody"),
            "{told}"
        );
        set_mode(&elsewhere, 0o755);
        set_mode(&above, 0o777);
        let told = judge.within(&link).expect_err("on its way").to_string();
        assert!(told.contains("above can be written by everybody"), "{told}");
        judge
            .within(&data.join("nothing"))
            .expect("nobody has made it");
    }
}
