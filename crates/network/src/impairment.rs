//! What the way between hosts does to packets, as nftables rules of the router.

use crate::delay::DEVICE;
use std::net::IpAddr;
use std::time::Duration;

/// What happens to packets between hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impairment {
    /// Of a thousand packets so many are lost, in each direction.
    pub lost_permille: u32,
    /// Every packet is under way for so long,
    pub delay: Duration,
    /// and up to so much longer.
    pub jitter: Duration,
    /// On the way to these addresses packets that open a connection are dropped when they carry data.
    pub no_data_in_syn_to: Vec<IpAddr>,
}

/// A SYN without data has 60 bytes by IPv4 and 80 by IPv6; one with a label more than 80 and 100.
const SYN_BYTES: [(&str, u32); 2] = [("ip", 60), ("ip6", 80)];

impl Impairment {
    /// The rules; those of cuts are sets, which keep their elements apart from the rest.
    pub(crate) fn rules(&self, cuts: &[(IpAddr, IpAddr)]) -> String {
        let mut rules = format!(
            "add table inet impairment\ndelete table inet impairment\ntable inet impairment {{\n chain way {{\n  type filter hook forward priority filter;\n  iifname != \"{DEVICE}\" accept;\n"
        );
        for (from, to) in cuts {
            let family = family(*from);
            rules.push_str(&format!(
                "  {family} saddr {from} {family} daddr {to} drop;\n"
            ));
        }
        for to in &self.no_data_in_syn_to {
            let family = family(*to);
            let bytes = SYN_BYTES.iter().find(|(name, _)| *name == family);
            let bytes = bytes.map_or(0, |(_, bytes)| *bytes);
            rules.push_str(&format!(
                "  {family} daddr {to} tcp flags & (syn | ack) == syn meta length > {bytes} counter drop;\n"
            ));
        }
        if self.lost_permille > 0 {
            rules.push_str(&format!(
                "  numgen random mod 1000 < {} drop;\n",
                self.lost_permille
            ));
        }
        rules.push_str(" }\n}\n");
        rules
    }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ip" } else { "ip6" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_impairment_everything_passes() {
        let rules = Impairment::default().rules(&[]);
        assert!(!rules.contains("drop"), "{rules}");
    }

    #[test]
    fn each_evil_is_a_rule_of_its_own() {
        let address = |text: &str| text.parse().expect("an address");
        let impairment = Impairment {
            lost_permille: 20,
            no_data_in_syn_to: vec![address("10.77.1.2"), address("fd77:1::2")],
            ..Impairment::default()
        };
        let rules = impairment.rules(&[(address("10.77.1.2"), address("10.77.2.2"))]);
        assert_eq!(rules.matches("drop").count(), 4, "{rules}");
        assert!(rules.contains("ip saddr 10.77.1.2 ip daddr 10.77.2.2 drop"));
        assert!(
            rules.contains("ip6 daddr fd77:1::2 tcp flags & (syn | ack) == syn meta length > 80")
        );
    }
}
