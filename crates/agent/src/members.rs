//! The members' list: who is a member, at which addresses, and which members may not know this node's own addresses yet.
//!
//! A call from a member carries a label because its hooks find the destination in their list. So a node must not be
//! reachable at an address before the others' hooks have it: it announces first, then serves.

use model::api::{Behind, Listed, MembersRequest, MembersResponse, Moment};
use model::ids::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// An address in the list, without its number.
pub(crate) type Address = (IpAddr, Option<u16>);

/// By this node's port: members' addresses from which a call without a label may be a member's.
pub(crate) type Unsure = BTreeMap<u16, BTreeSet<IpAddr>>;

/// The list as the agent holds it; kept on disk, so that the next agent does not put an older one in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberList {
    /// Its number.
    pub(crate) at: u64,
    nodes: BTreeMap<NodeId, Vec<Listed>>,
    behind: Vec<Behind>,
    /// When it came.
    #[serde(default)]
    moment: Option<Moment>,
    /// Addresses of the list before, where the server was set back since and may not know all members yet.
    #[serde(default)]
    former: BTreeSet<Listed>,
    #[serde(skip)]
    acks: u64,
    /// Whom the server has not heard for too long. Not kept: an agent that starts hears it anew.
    #[serde(skip)]
    silent: BTreeSet<NodeId>,
    #[serde(skip)]
    silence: u64,
}

impl MemberList {
    /// Whether nothing differs that anybody goes by.
    pub(crate) fn says_as(&self, other: &Self) -> bool {
        (self.at, &self.nodes, &self.behind, &self.former)
            == (other.at, &other.nodes, &other.behind, &other.former)
    }

    /// What the server is asked next, while this list is in force.
    pub(crate) fn question(&self, in_force: u64) -> MembersRequest {
        MembersRequest {
            seen: self.at,
            in_force,
            acks: (!self.behind.is_empty()).then_some(self.acks),
            moment: self.moment,
            silence: Some(self.silence),
            labels: None,
        }
    }

    /// The list after an answer.
    pub(crate) fn with(&self, answer: MembersResponse) -> Self {
        let former = self.former_with(&answer);
        let mut nodes = if answer.whole {
            BTreeMap::new()
        } else {
            self.nodes.clone()
        };
        nodes.extend(
            answer
                .members
                .into_iter()
                .map(|member| (member.node, member.listed)),
        );
        Self {
            at: answer.at,
            nodes,
            behind: answer.behind,
            moment: answer.moment,
            former,
            acks: answer.acks,
            silent: answer.silent.into_iter().collect(),
            silence: answer.silence,
        }
    }

    /// What an answer leaves of the addresses that are known: in another epoch they stay until they are dropped.
    fn former_with(&self, answer: &MembersResponse) -> BTreeSet<Listed> {
        let epoch = |moment: Option<Moment>| moment.map(|moment| moment.epoch);
        let before = epoch(self.moment);
        if before.is_none() || before == epoch(answer.moment) {
            return self.former.clone();
        }
        self.listed().copied().collect()
    }

    /// Whether addresses are kept that the server may not know yet.
    pub(crate) fn has_former(&self) -> bool {
        !self.former.is_empty()
    }

    /// The list without what only a lost history has said.
    pub(crate) fn without_former(mut self) -> Self {
        self.former.clear();
        self
    }

    /// Where members listen.
    pub(crate) fn endpoints(&self) -> BTreeSet<SocketAddr> {
        self.listed().filter_map(endpoint).collect()
    }

    /// Where only members listen of which the server cannot tell whether they still are there: it has not heard them for too long, or
    /// was set back and may not know them yet.
    pub(crate) fn unconfirmed_endpoints(&self) -> BTreeSet<SocketAddr> {
        let (silent, heard): (Vec<_>, Vec<_>) =
            (self.nodes.iter()).partition(|(node, _)| self.silent.contains(node));
        let of = |nodes: Vec<(&NodeId, &Vec<Listed>)>| -> BTreeSet<SocketAddr> {
            let listed = nodes.into_iter().flat_map(|(_, listed)| listed);
            listed.filter_map(endpoint).collect()
        };
        let former = self.former.iter().filter_map(endpoint).collect();
        &(&of(silent) | &former) - &of(heard)
    }

    /// Where members' connections come from.
    pub(crate) fn sources(&self) -> BTreeSet<IpAddr> {
        self.listed().map(|listed| listed.address).collect()
    }

    /// The addresses of one node.
    pub(crate) fn of(&self, node: NodeId) -> BTreeSet<Address> {
        let listed = self.nodes.get(&node).into_iter().flatten();
        listed.map(|listed| (listed.address, listed.port)).collect()
    }

    fn listed(&self) -> impl Iterator<Item = &Listed> {
        self.nodes.values().flatten().chain(&self.former)
    }

    /// Who must still learn these addresses of `node`: `None` while the list does not have them all itself.
    pub(crate) fn ignorant(&self, node: NodeId, wanted: &BTreeSet<Address>) -> Option<Ignorant> {
        let listed = self.nodes.get(&node).into_iter().flatten();
        let since: BTreeMap<Address, u64> = listed
            .map(|listed| ((listed.address, listed.port), listed.since))
            .collect();
        let numbers: Option<Vec<u64>> = wanted
            .iter()
            .map(|address| since.get(address).copied())
            .collect();
        let needed = numbers?.into_iter().max().unwrap_or(0);
        let behind = self.behind.iter().filter(|node| node.in_force < needed);
        Some(Ignorant {
            needed,
            awaited: behind
                .filter(|node| node.awaited)
                .map(|node| node.name.clone())
                .collect(),
        })
    }

    /// Where a caller without a label may be a member that did not know better: by this node's port, the members' addresses.
    /// A member that has no list yet runs no software.
    pub(crate) fn unsure(&self, node: NodeId) -> Unsure {
        let mut unsure = Unsure::new();
        for (port, behind) in self.behind_at(node) {
            let listed = self.nodes.get(&behind.node).into_iter().flatten();
            let addresses = listed.map(|listed| listed.address.to_canonical());
            unsure.entry(port).or_default().extend(addresses);
        }
        unsure
    }

    /// The same for people: the names of these members.
    pub(crate) fn unsure_names(&self, node: NodeId) -> BTreeSet<&str> {
        let behind = self.behind_at(node);
        behind.map(|(_, behind)| behind.name.as_str()).collect()
    }

    /// A port of a node, and a member that does not know it yet; all such pairs.
    fn behind_at(&self, node: NodeId) -> impl Iterator<Item = (u16, &Behind)> {
        let own = self.nodes.get(&node).into_iter().flatten();
        let ports = own.filter_map(|own| Some((own.port?, own.since)));
        ports.flat_map(|(port, since)| {
            let ignorant = move |behind: &&Behind| behind.in_force > 0 && behind.in_force < since;
            let behind = self.behind.iter().filter(ignorant);
            behind.map(move |behind| (port, behind))
        })
    }

    /// Whether a node that knows only `kept` would judge its callers otherwise. That somebody has caught up gives the list no new
    /// number.
    pub(crate) fn must_be_kept(&self, kept: &Self, node: NodeId) -> bool {
        let life = |list: &Self| list.moment.map(|moment| (moment.epoch, moment.life));
        self.at != kept.at
            || life(self) != life(kept)
            || self.former != kept.former
            || self.unsure(node) != kept.unsure(node)
    }
}

fn endpoint(listed: &Listed) -> Option<SocketAddr> {
    Some(SocketAddr::new(listed.address, listed.port?))
}

/// Who does not know a node's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ignorant {
    /// Whoever has this list knows them.
    pub(crate) needed: u64,
    /// The members to be waited for that do not have it, by name.
    pub(crate) awaited: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::api::Member;

    const ME: NodeId = NodeId(1);

    fn at(port: Option<u16>, since: u64) -> Listed {
        let address = IpAddr::from([127, 0, 0, 1]);
        Listed {
            address,
            port,
            since,
        }
    }

    fn behind(node: u32, awaited: bool, in_force: u64) -> Behind {
        Behind {
            node: NodeId(node),
            name: format!("n{node}"),
            awaited,
            in_force,
        }
    }

    fn answer(at_number: u64, behind: Vec<Behind>) -> MembersResponse {
        let member = |node, listed| Member {
            node: NodeId(node),
            listed,
        };
        MembersResponse {
            at: at_number,
            whole: false,
            members: vec![
                member(1, vec![at(None, 3), at(Some(70), 3), at(Some(71), 9)]),
                member(2, vec![at(None, 2), at(Some(80), 2)]),
            ],
            behind,
            acks: 5,
            ..MembersResponse::default()
        }
    }

    fn wanted(ports: &[u16]) -> BTreeSet<Address> {
        let address = IpAddr::from([127, 0, 0, 1]);
        ports.iter().map(|port| (address, Some(*port))).collect()
    }

    #[test]
    fn an_address_is_known_when_every_reachable_member_has_the_list_in_which_it_came() {
        let list = MemberList::default();
        assert_eq!(list.ignorant(ME, &wanted(&[70])), None, "not listed yet");
        let list = list.with(answer(9, vec![behind(2, true, 4), behind(3, false, 2)]));
        let known = list.ignorant(ME, &wanted(&[70])).expect("listed");
        assert_eq!(known.awaited, Vec::<String>::new());
        let new = list.ignorant(ME, &wanted(&[70, 71])).expect("listed");
        assert_eq!((new.needed, new.awaited), (9, vec!["n2".to_owned()]));
    }

    #[test]
    fn callers_without_a_label_are_unsure_only_at_ports_that_some_member_with_software_does_not_know()
     {
        let list = MemberList::default().with(answer(9, vec![behind(2, false, 4)]));
        let from: BTreeSet<IpAddr> = [IpAddr::from([127, 0, 0, 1])].into();
        assert_eq!(list.unsure(ME), BTreeMap::from([(71, from)]));
        let list = list.with(answer(9, vec![behind(2, true, 0)]));
        assert_eq!(list.unsure(ME), BTreeMap::new());
    }

    #[test]
    fn endpoints_are_silent_where_nobody_listens_whom_the_server_hears() {
        let at = |port| SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port);
        let silent = |nodes: &[u32]| {
            let list = MemberList::default().with(MembersResponse {
                silent: nodes.iter().copied().map(NodeId).collect(),
                silence: 77,
                ..answer(9, Vec::new())
            });
            assert_eq!(list.question(9).silence, Some(77));
            list.unconfirmed_endpoints()
        };
        assert_eq!(silent(&[]), BTreeSet::new());
        assert_eq!(silent(&[1]), [at(70), at(71)].into());
        assert_eq!(silent(&[1, 2]).len(), 3);
        // An address of two nodes, as a balancer's is: one of them answers.
        let shared = Member {
            node: NodeId(3),
            listed: vec![super::tests::at(Some(70), 9)],
        };
        let mut both = answer(9, Vec::new());
        both.members.push(shared);
        both.silent = vec![NodeId(1)];
        let list = MemberList::default().with(both);
        assert_eq!(list.unconfirmed_endpoints(), [at(71)].into());
    }

    #[test]
    fn a_list_is_kept_whenever_it_judges_callers_otherwise_than_the_one_that_was_kept() {
        let kept =
            MemberList::default().with(answer(9, vec![behind(2, true, 4), behind(3, true, 9)]));
        let same = kept.with(answer(9, vec![behind(2, false, 4)]));
        assert!(
            !same.must_be_kept(&kept, ME),
            "nothing that callers are judged by"
        );
        let caught_up = kept.with(answer(9, Vec::new()));
        assert!(
            caught_up.must_be_kept(&kept, ME),
            "nobody is unsure any more"
        );
        assert_eq!(kept.unsure_names(ME), ["n2"].into());
        assert!(
            kept.with(answer(10, Vec::new()))
                .must_be_kept(&caught_up, ME)
        );
    }

    #[test]
    fn members_of_a_lost_history_are_known_until_all_had_time_to_come_back() {
        let moment = |epoch| {
            Some(Moment {
                epoch,
                ..Moment::default()
            })
        };
        let before = MemberList::default().with(MembersResponse {
            moment: moment(1),
            ..answer(9, Vec::new())
        });
        // The backup knows nobody yet.
        let restored = MembersResponse {
            at: 3,
            whole: true,
            moment: moment(2),
            ..MembersResponse::default()
        };
        let list = before.with(restored.clone());
        assert_eq!(list.endpoints(), before.endpoints());
        assert_eq!(list.sources(), before.sources());
        assert!(list.must_be_kept(&before, ME));
        let list = list.with(restored);
        assert!(list.has_former(), "the next answer says no more");
        assert_eq!(list.unconfirmed_endpoints(), before.endpoints());
        assert_eq!(list.without_former().endpoints().len(), 0);
    }

    #[test]
    fn a_whole_list_replaces_and_a_part_adds() {
        let list = MemberList::default().with(answer(9, Vec::new()));
        assert_eq!(list.endpoints().len(), 3);
        assert_eq!(list.question(9).acks, None, "nobody is waited for");
        let part = MembersResponse {
            at: 10,
            members: vec![Member {
                node: NodeId(2),
                listed: Vec::new(),
            }],
            ..MembersResponse::default()
        };
        assert_eq!(list.with(part.clone()).endpoints().len(), 2);
        let whole = MembersResponse {
            whole: true,
            ..part
        };
        assert_eq!(list.with(whole).endpoints().len(), 0);
    }
}
