//! What people sign and servers then seal: the next root and targets, without a change of upgrades.

use crate::catalogue::Catalogue;
use crate::error::{SignError, TrustError};
use crate::following::{SIGNED_BY_PEOPLE_DAYS, after, next_targets};
use crate::metadata::{SignedDocument, next};
use crate::roots::{self, RootChange};
use crate::sign::{Signer, sign};
use crate::trust::signed_by;
use crate::writer::{FollowingDocuments, RepositoryWriter};
use jiff::Timestamp as Time;
use tough::schema::{RoleType, Root, Targets};

/// The next root and targets, as people sign them, before a server has sealed them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignedByPeople {
    /// The next root, if it changes.
    pub root: Option<Vec<u8>>,
    /// The next targets, if they change.
    pub targets: Option<Vec<u8>>,
}

type RootAndTargets = (
    Option<SignedDocument<Root>>,
    Option<SignedDocument<Targets>>,
);

impl SignedByPeople {
    pub(crate) fn read(&self) -> Result<RootAndTargets, TrustError> {
        let root = self.root.as_deref().map(SignedDocument::read);
        let targets = self.targets.as_deref().map(SignedDocument::read);
        Ok((root.transpose()?, targets.transpose()?))
    }
}

impl RepositoryWriter {
    /// What people sign of a renewal: the root and the targets, where these roles are among those that are renewed.
    ///
    /// # Errors
    /// The keys do not suffice.
    pub async fn sign_renewal(
        &self,
        roles: &[RoleType],
        days: Option<u32>,
        signers: &[Signer],
        now: Time,
    ) -> Result<SignedByPeople, SignError> {
        let end = after(now, days.unwrap_or(SIGNED_BY_PEOPLE_DAYS));
        let mut signed = SignedByPeople::default();
        let before = &self.trust.root.content.signed;
        if roles.contains(&RoleType::Root) {
            let root = roots::following(before, &RootChange::default(), end)?;
            let root = sign(root.clone(), &[before, &root], signers).await?;
            signed.root = Some(root.bytes);
        }
        if roles.contains(&RoleType::Targets) {
            let targets = sign(next_targets(&self.trust, end)?, &[before], signers).await?;
            signed.targets = Some(targets.bytes);
        }
        Ok(signed)
    }

    /// What people sign of a rotation: the next root, and the targets where it does not vouch for those that are there.
    ///
    /// # Errors
    /// The change cannot be, or the keys do not suffice.
    pub async fn sign_rotation(
        &self,
        change: &RootChange,
        signers: &[Signer],
        now: Time,
    ) -> Result<SignedByPeople, SignError> {
        let before = &self.trust.root.content.signed;
        let end = after(now, SIGNED_BY_PEOPLE_DAYS);
        let root = roots::following(before, change, end)?;
        let root = sign(root.clone(), &[before, &root], signers).await?;
        let vouching = &root.content.signed;
        let targets = self.trust.targets.as_ref();
        let targets = if targets.is_some_and(|it| signed_by(vouching, it).is_ok()) {
            None
        } else {
            Some(sign(next_targets(&self.trust, end)?, &[vouching], signers).await?)
        };
        Ok(SignedByPeople {
            root: Some(root.bytes),
            targets: targets.map(|targets| targets.bytes),
        })
    }

    /// Takes a root and targets that people have signed, with the upgrades as they are, and seals what is not sealed by the new root.
    ///
    /// # Errors
    /// They cannot be trusted or change an upgrade, the server's keys are missing, or the folder cannot be written.
    pub async fn take_signed(
        &mut self,
        signed: &SignedByPeople,
        signers: &[Signer],
        now: Time,
    ) -> Result<(), SignError> {
        let (root, targets) = signed.read()?;
        let mut rotated = self.trust.clone();
        if let Some(root) = &root {
            rotated.take_root(&root.bytes)?;
        }
        let there = (self.trust.targets.as_ref()).map(SignedDocument::version);
        if let Some(targets) = &targets
            && Some(targets.version()) != there.map(next)
        {
            return Err(SignError::Outdated {
                problem: format!("targets {} do not follow", targets.version()),
            });
        }
        if let Some(targets) = &targets
            && Catalogue::of(&targets.content.signed)? != self.trust.catalogue()
        {
            return Err(SignError::Refused {
                problem: "these targets change upgrades".to_owned(),
                advice: "change upgrades with `upstart publish` and `upstart withdraw`",
            });
        }
        let vouching = &rotated.root.content.signed;
        let (snapshot, timestamp) = (&self.trust.snapshot, &self.trust.timestamp);
        let is_sealed = targets.is_none()
            && (snapshot.as_ref()).is_some_and(|it| signed_by(vouching, it).is_ok())
            && (timestamp.as_ref()).is_some_and(|it| signed_by(vouching, it).is_ok());
        let mut following = FollowingDocuments::default();
        if let Some(targets) = targets.or(self.trust.targets.clone())
            && !is_sealed
        {
            rotated.vouched_for(&targets)?;
            following = self.sealed(&rotated, targets, signers, now).await?;
        }
        following.root = root;
        self.commit(&following, now)
    }
}
