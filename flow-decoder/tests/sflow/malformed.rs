//! Damage that has killed collectors: survived, counted, and everything else of the datagram decoded.

use flow_decoder::{Reason, Verdict};

use super::*;

/// A good sample, to stand behind a bad one.
fn good() -> Vec<u8> {
    flow_sample(&[raw_header()])
}

#[track_caller]
fn assert_good_is_decoded(outcome: &Outcome) {
    assert_eq!(outcome.flows.last().map(|flow| flow.dst_port), Some(53), "{:?}", outcome.errors);
}

#[test]
fn agent_address_type_0_or_3() {
    for kind in [0, 3, u32::MAX] {
        let outcome = decode(&words(&[5, kind, 1, 2, 3, 4, 5, 6, 7]));
        assert_eq!(outcome.verdict, Verdict::Rejected(Reason::AgentAddress));
        assert_eq!(outcome.errors, ["at byte 4: agent address type is not known"]);
    }
}

#[test]
fn cut_at_every_byte() {
    let whole = datagram_of(&[good(), good()]);
    for len in 4..whole.len() {
        let outcome = decode(&whole[..len]);
        match len {
            0..28 => assert_eq!(outcome.verdict, Verdict::Rejected(Reason::ShortHeader), "{len} bytes"),
            _ => assert_eq!(outcome.verdict, Verdict::PartlyDecoded, "{len} bytes"),
        }
        assert!(outcome.flows.len() >= usize::from(len >= 28 + good().len()), "{len} bytes");
    }
}

#[test]
fn sample_count_of_all_ones() {
    let mut datagram = datagram_of(&[good(), good()]);
    datagram[24..28].fill(0xff);
    let outcome = decode(&datagram);
    outcome.assert_damage(Reason::SampleLength, 1);
    assert_eq!(outcome.flows.len(), 2);
}

#[test]
fn bytes_behind_the_last_sample() {
    let outcome = decode(&[datagram_of(&[good()]), vec![1; 8]].concat());
    outcome.assert_damage(Reason::HeaderLength, 1);
    assert_good_is_decoded(&outcome);
}

#[test]
fn record_count_of_all_ones() {
    let mut body = flow_body(&[raw_header()]);
    body[28..32].fill(0xff);
    let outcome = decode(&datagram_of(&[block(1, &body), good()]));
    outcome.assert_damage(Reason::SampleRecord, 1);
    assert_eq!(outcome.flows.len(), 2);
    assert_eq!(outcome.flows[0], outcome.flows[1], "the records that are there count");
}

#[test]
fn counts_of_all_ones_inside_of_records() {
    let ones = u32::MAX;
    for (name, record) in [
        ("AS path segments", block(1003, &words(&[1, 9, 1, 2, 3, ones, 2, 1, 100]))),
        ("AS path length", block(1003, &words(&[1, 9, 1, 2, 3, 1, 2, ones, 100]))),
        ("communities", block(1003, &words(&[1, 9, 1, 2, 3, 0, ones, 100]))),
        ("labels", block(1006, &words(&[1, 9, ones, 1, 2]))),
        ("tags", block(1012, &words(&[ones, 1]))),
        ("user", block(1004, &words(&[106, ones, 1]))),
        ("router", block(1002, &words(&[3, 1, 2, 3, 4]))),
    ] {
        let outcome = decode(&datagram_of(&[flow_sample(&[record, raw_header()]), good()]));
        outcome.assert_damage(Reason::SampleRecord, 1);
        assert!(outcome.errors[0].contains("in sample 1: in record 1: "), "{name}: {}", outcome.errors[0]);
        assert_eq!(outcome.flows.len(), 2, "{name}");
        assert_eq!(outcome.flows[0], outcome.flows[1], "{name}: the other records of the sample count");
    }
}

#[test]
fn a_url_of_all_ones_is_skipped_by_its_record() {
    let url = block(1005, &words(&[1, u32::MAX, 0]));
    let outcome = decode(&datagram_of(&[flow_sample(&[url, raw_header()])]));
    outcome.assert_whole();
    assert_good_is_decoded(&outcome);
}

#[test]
fn brocade_writes_a_gateway_record_four_bytes_longer_than_it_says() {
    let mut gateway = block(1003, &words(&[1, 9, 65000, 65001, 65002, 1, 2, 1, 100, 0, 150]));
    gateway[7] -= 4;
    let router = block(1002, &words(&[1, 9, 24, 16]));
    for records in [vec![raw_header(), gateway.clone()], vec![raw_header(), gateway.clone(), router]] {
        let outcome = decode(&datagram_of(&[flow_sample(&records), good()]));
        outcome.assert_damage(Reason::SampleRecord, 1);
        assert_eq!(outcome.samples[0].3, [1, 1003, 1002][..records.len()], "each record is shown");
        let flow = &outcome.flows[0];
        assert_eq!((flow.bgp_local_pref, flow.dst_as, flow.dst_port), (150, 100, 53));
        assert_eq!(flow.dst_net, if records.len() == 3 { 16 } else { 0 });
        assert_good_is_decoded(&outcome);
    }
}

#[test]
fn a_switch_record_that_says_less_than_it_holds() {
    let mut switch = block(1001, &words(&[100, 1, 200, 2]));
    switch[7] = 6;
    for records in [vec![switch.clone(), raw_header()], vec![raw_header(), switch.clone()]] {
        let outcome = decode(&datagram_of(&[flow_sample(&records), good()]));
        outcome.assert_damage(Reason::SampleRecord, 1);
        let flow = &outcome.flows[0];
        assert_eq!((flow.src_vlan, flow.dst_vlan, flow.dst_port), (100, 200, 53));
        assert_eq!(outcome.samples[0].3.len(), 2, "each record is shown");
        assert_good_is_decoded(&outcome);
    }
}

#[test]
fn header_length_beyond_the_record() {
    let mut record = raw_header();
    record[20..24].copy_from_slice(&words(&[4000]));
    let outcome = decode(&datagram_of(&[flow_sample(&[record, block(1001, &words(&[1, 2, 3, 4]))])]));
    outcome.assert_damage(Reason::SampleRecord, 1);
    assert_eq!(
        (outcome.flows[0].dst_port, outcome.flows[0].src_vlan),
        (53, 1),
        "what is there of the header counts"
    );
}

#[test]
fn a_record_beyond_its_sample() {
    let mut body = flow_body(&[raw_header(), block(1001, &words(&[1, 2, 3, 4]))]);
    let at = body.len() - 20;
    body[at..at + 4].copy_from_slice(&words(&[4000]));
    let outcome = decode(&datagram_of(&[block(1, &body), good()]));
    outcome.assert_damage(Reason::SampleRecord, 1);
    assert_eq!((outcome.flows[0].dst_port, outcome.flows.len()), (53, 2));
}

#[test]
fn huawei_says_samples_with_a_vlan_tag_too_short() {
    let mut sample = flow_sample(&[raw_header(), block(1001, &words(&[1, 2, 3, 4]))]);
    sample[7] -= 4;
    for samples in [vec![sample.clone()], vec![sample.clone(), good()]] {
        let outcome = decode(&datagram_of(&samples));
        outcome.assert_damage(Reason::SampleLength, 1);
        assert_eq!((outcome.flows[0].dst_port, outcome.flows[0].src_vlan), (53, 1));
        assert_eq!(outcome.flows.len(), samples.len());
    }
}

#[test]
fn a_sample_length_beyond_the_datagram() {
    for length in [4000u32, u32::MAX] {
        let mut sample = flow_sample(&[raw_header()]);
        sample[4..8].copy_from_slice(&words(&[length]));
        let outcome = decode(&datagram_of(&[good(), sample.clone()]));
        outcome.assert_damage(Reason::SampleLength, 1);
        assert_eq!(outcome.flows.len(), 2, "its records are whole");
        let outcome = decode(&datagram_of(&[sample, good()]));
        outcome.assert_damage(Reason::SampleLength, 1);
        assert_eq!(outcome.flows.len(), 2, "its records say where the next sample begins");
    }
}

#[test]
fn unknown_samples_of_any_enterprise() {
    for format in [0, 6, 4095, 4300 << 12 | 1002, 9 << 12 | 1] {
        let outcome = decode(&datagram_of(&[block(format, &[1; 64]), good()]));
        outcome.assert_damage(Reason::UnknownSample, 1);
        assert_eq!(outcome.samples[0], (format & 0xfff, None, None, vec![]), "observed all the same");
        assert_good_is_decoded(&outcome);
    }
}

/// Also of the enterprise that has most of them.
#[test]
fn records_of_unknown_enterprises_and_formats_cost_nothing() {
    let unknown = [0, 999, 4095, 4413 << 12 | 2, 0xffff_ffff].map(|format| block(format, &[0xff; 12]));
    let records = [&unknown[..], &[raw_header()], &unknown].concat();
    let outcome = decode(&datagram_of(&[flow_sample(&records), good()]));
    outcome.assert_whole();
    assert_eq!(outcome.flows[0], outcome.flows[1]);
}

#[test]
fn records_longer_than_their_structure_cost_nothing() {
    let longer = |format, values: &[u32]| block(format, &[words(values), vec![0xee; 8]].concat());
    let records = [longer(1001, &[1, 2, 3, 4]), longer(1002, &[1, 9, 24, 16]), raw_header()];
    let outcome = decode(&datagram_of(&[flow_sample(&records), good()]));
    outcome.assert_whole();
    let flow = &outcome.flows[0];
    assert_eq!((flow.src_vlan, flow.dst_net, flow.dst_port), (1, 16, 53));
}

#[test]
fn sampling_rates_of_zero_and_all_ones_are_kept_as_sent() {
    for rate in [0, u32::MAX] {
        let mut body = flow_body(&[raw_header()]);
        body[8..12].copy_from_slice(&words(&[rate]));
        let outcome = decode(&datagram_of(&[block(1, &body), good()]));
        outcome.assert_whole();
        assert_eq!(outcome.flows[0].sampling_rate, u64::from(rate));
    }
}

/// What kills dissectors of packets is cut by design here: nothing is counted, and all else of the sample is kept.
#[test]
fn sampled_packets_without_an_end() {
    let mpls = [&frame()[..12], &[0x88, 0x47], &[0, 1, 0, 64].repeat(30)[..]].concat();
    let tags = [&frame()[..12], &[0x81, 0, 0, 1].repeat(30)[..]].concat();
    let mut extensions = [&frame()[..12], &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 0, 9], &[0x20; 32]].concat();
    extensions.extend([0; 80]);
    let mut short_header = frame();
    short_header[14] = 0x44;
    let mut short_total = frame();
    short_total[17] = 10;
    for (name, packet) in [
        ("labels", mpls),
        ("tags", tags),
        ("extension headers", extensions),
        ("header length below 5", short_header),
        ("total length below the header", short_total),
    ] {
        let header = block(1, &[words(&[1, 1500, 4]), opaque(&packet)].concat());
        let sample = flow_sample(&[header, block(1001, &words(&[10, 0, 20, 0]))]);
        let outcome = decode(&datagram_of(&[good(), sample, good()]));
        outcome.assert_whole();
        let flow = &outcome.flows[1];
        assert_eq!((flow.src_mac, flow.src_vlan, flow.bytes), (0x0200_0000_0002, 10, 1500), "{name}");
        assert_eq!((flow.dst_port, outcome.flows.len()), (0, 3), "{name}");
    }
}

#[test]
fn samples_shorter_than_their_header() {
    for (format, len) in [(1, 31), (2, 11), (3, 43), (4, 15), (5, 31), (1, 0)] {
        let outcome = decode(&datagram_of(&[block(format, &vec![0; len]), good()]));
        outcome.assert_damage(Reason::SampleMalformed, 1);
        assert_good_is_decoded(&outcome);
    }
}

#[test]
fn counters_that_are_cut_show_what_is_there() {
    let interface: Vec<u32> = (1..=10).collect();
    let head = words(&[66, 17, 1]);
    let outcome = decode(&datagram_of(&[block(2, &[head, block(1, &words(&interface))].concat()), good()]));
    outcome.assert_damage(Reason::SampleRecord, 1);
    let interface = outcome.counters[0].interface.unwrap();
    assert_eq!((interface.in_ucast_packets, interface.in_broadcast_packets), (9, 0));
    assert_good_is_decoded(&outcome);
}

#[test]
fn strings_of_a_drop_beyond_their_record() {
    let records = [block(1038, &words(&[u32::MAX, 1])), block(1037, &words(&[1, 500, 1]))];
    let head = words(&[77, 0, 5, 2, 3, 4, 258, 2]);
    let outcome = decode(&datagram_of(&[block(5, &[&head[..], &records.concat()].concat()), good()]));
    outcome.assert_damage(Reason::SampleRecord, 2);
    assert_eq!(outcome.drops[0].reason_name, "acl");
    assert_good_is_decoded(&outcome);
}
