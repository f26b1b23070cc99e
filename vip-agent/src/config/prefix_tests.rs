use proptest::prelude::*;

use super::*;

const V4: &str = "192.0.2.100";
const V6: &str = "2001:db8::100";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The lengths that a VIP of each family gets, and whether something is said about it.
fn lengths(text: &str) -> [(u8, bool); 2] {
    let policy = PrefixPolicy::parse(text).unwrap();
    [V4, V6].map(|address| {
        let Resolved { net, note } = policy.resolve(ip(address), Some(&[]));
        (net.unwrap().prefix_len(), note.is_some())
    })
}

fn errors(text: &str) -> Vec<String> {
    PrefixPolicy::parse(text)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn unset_gives_host_prefixes_silently() {
    let policy = PrefixPolicy::default();
    for (address, length) in [(V4, 32), (V6, 128)] {
        let resolved = policy.resolve(ip(address), None);
        assert_eq!(resolved.net.unwrap().prefix_len(), length);
        assert_eq!(resolved.note, None);
    }
}

#[test]
fn one_number_up_to_32_is_that_of_ipv4() {
    assert_eq!(lengths("32"), [(32, false), (128, true)]);
    assert_eq!(lengths("24"), [(24, false), (128, true)]);
}

#[test]
fn one_number_above_32_is_that_of_ipv6() {
    assert_eq!(lengths("128"), [(32, true), (128, false)]);
    assert_eq!(lengths("64"), [(32, true), (64, false)]);
    assert_eq!(lengths("33"), [(32, true), (33, false)]);
}

#[test]
fn a_pair_is_ipv4_then_ipv6() {
    assert_eq!(lengths("32,128"), [(32, false), (128, false)]);
    assert_eq!(lengths("24,64"), [(24, false), (64, false)]);
    assert_eq!(lengths("24,24"), [(24, false), (24, false)]);
}

#[test]
fn a_pair_in_the_wrong_order_is_named_with_its_fix() {
    let errors = PrefixPolicy::parse("128,32").unwrap_err();
    assert_eq!(
        errors,
        [PrefixError::WrongOrder {
            ipv4: 32,
            ipv6: 128
        }]
    );
    assert!(errors[0].to_string().contains("order"));
    assert_eq!(errors[0].fix(), "write `32,128`");
}

#[test]
fn auto_takes_the_subnet_of_the_interface() {
    let nets = [
        "192.0.2.7/24",
        "192.0.0.1/16",
        "2001:db8::7/64",
        "fe80::1/64",
    ]
    .map(|net| net.parse().unwrap());
    let policy = PrefixPolicy::parse("auto").unwrap();
    for (address, bound) in [(V4, "192.0.2.100/24"), (V6, "2001:db8::100/64")] {
        let resolved = policy.resolve(ip(address), Some(&nets));
        assert_eq!(resolved.net, Some(bound.parse().unwrap()));
        assert_eq!(resolved.note, None);
    }
}

#[test]
fn auto_without_a_subnet_gives_the_host_prefix_and_says_so() {
    assert_eq!(lengths("auto"), [(32, true), (128, true)]);
    // A host prefix, or everything, is no subnet.
    let nets = ["192.0.2.100/32", "0.0.0.0/0", "2001:db8::100/128", "::/0"]
        .map(|net| net.parse().unwrap());
    let policy = PrefixPolicy::parse("auto").unwrap();
    for address in [V4, V6] {
        let resolved = policy.resolve(ip(address), Some(&nets));
        assert_eq!(resolved.net, Some(host_prefix(ip(address))));
        assert!(matches!(resolved.note, Some(Note::NoSubnet { .. })));
    }
}

#[test]
fn auto_without_the_interface_is_unknown() {
    let policy = PrefixPolicy::parse("auto").unwrap();
    for address in [V4, V6] {
        let resolved = policy.resolve(ip(address), None);
        assert_eq!(resolved.net, None);
        assert!(matches!(resolved.note, Some(Note::NoInterface { .. })));
    }
}

#[test]
fn auto_is_a_matter_of_each_family() {
    assert_eq!(lengths("auto,128"), [(32, true), (128, false)]);
    assert_eq!(lengths("24,auto"), [(24, false), (128, true)]);
    assert_eq!(lengths("auto,auto"), [(32, true), (128, true)]);
}

#[test]
fn zero_is_refused_also_in_a_pair() {
    for text in [
        "0", "/0", "00", "0,128", "32,0", "0,auto", "auto,0", "128,0",
    ] {
        assert!(
            errors(text)
                .iter()
                .any(|error| error.contains("every address")),
            "{text}"
        );
    }
}

#[test]
fn slashes_and_spaces_are_accepted() {
    for text in ["/32", " 32 "] {
        assert_eq!(lengths(text), [(32, false), (128, true)], "{text}");
    }
    for text in ["32, 128", "/32,/128", " /32 , /128 "] {
        assert_eq!(lengths(text), [(32, false), (128, false)], "{text}");
    }
}

#[test]
fn anything_else_is_an_error_with_the_offending_part() {
    for (text, part) in [
        ("129", "`129`"),
        ("999999999999", "`999999999999`"),
        ("-1", "`-1`"),
        ("+32", "`+32`"),
        ("abc", "`abc`"),
        ("//32", "`//32`"),
        ("/auto", "`/auto`"),
        ("/", "`/`"),
        ("32,128,1", "`1`"),
        ("64,64", "`64`"),
        ("128,auto", "`128`"),
        ("32,129", "`129`"),
        ("32,abc", "`abc`"),
        ("", "empty part"),
        ("32,", "empty part"),
        (",128", "empty part"),
        (" , ", "empty part"),
    ] {
        let errors = errors(text);
        assert!(errors[0].contains(part), "{text}: {errors:?}");
    }
    assert_eq!(errors("0,abc").len(), 2, "both parts are named");
}

#[test]
fn a_length_never_exceeds_its_family() {
    assert_eq!(Bits::<32>::new(33), None);
    assert_eq!(Bits::<32>::new(0), None);
    assert_eq!(Bits::<128>::new(129), None);
    assert_eq!(Bits::<32>::new(32).unwrap().get(), 32);
}

fn policies() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ /]?([0-9]{0,4}|auto)(,[ /]?(-?[0-9]{0,4}|auto)){0,2}"
    ]
}

proptest! {
    #[test]
    fn whatever_is_written_a_vip_gets_a_prefix_of_its_own_family(
        text in policies(),
        v4: [u8; 4],
        v6: [u8; 16],
        nets in proptest::collection::vec((any::<[u8; 16]>(), 0_u8..=128, any::<bool>()), 0..6),
        there: bool,
    ) {
        let Ok(policy) = PrefixPolicy::parse(&text) else { return Ok(()) };
        let nets: Vec<IpNet> = nets
            .into_iter()
            .map(|(bytes, length, four)| {
                let address: IpAddr = if four {
                    [bytes[0], bytes[1], bytes[2], bytes[3]].into()
                } else {
                    bytes.into()
                };
                IpNet::new(address, if four { length.min(32) } else { length }).unwrap()
            })
            .collect();
        for address in [IpAddr::from(v4), IpAddr::from(v6)] {
            let Resolved { net, note } = policy.resolve(address, there.then_some(&nets));
            match net {
                Some(net) => {
                    prop_assert_eq!(net.addr(), address);
                    prop_assert!(net.prefix_len() > 0);
                    let most = if address.is_ipv4() { 32 } else { 128 };
                    prop_assert!(net.prefix_len() <= most);
                }
                None => {
                    let unknown = matches!(note, Some(Note::NoInterface { .. }));
                    prop_assert!(unknown && !there);
                }
            }
        }
    }

    #[test]
    fn an_error_has_a_message_and_a_fix(text in policies()) {
        for error in PrefixPolicy::parse(&text).err().unwrap_or_default() {
            prop_assert!(!error.to_string().is_empty() && !error.fix().is_empty());
        }
    }
}
