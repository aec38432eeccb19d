//! Rows 4, 5, 6 and 10: templates, options templates, enterprise elements, change. A bad announcement never replaces a good
//! template.

use flow_decoder::{PendingLimits, Reason, StoreLimits, Verdict};

use crate::rig::{Rig, exporter};
use crate::wire::{
    Message, field, ipfix_options_template, put16, template, v9_options_template, varlen, vendor,
};
use crate::{GOOD, GOOD_RECORD, Moved, assert_beside_good_sets, moved, prepared};

/// Announces `body` where template 256 is good already, between two data sets by it: the damage is counted, nothing is
/// learnt, and the good one decodes on.
#[track_caller]
fn assert_refused(message: Message, set: u16, body: &[u8], reason: Reason) {
    let mut rig = prepared();
    let known = rig.store.templates();
    let announced = |message: Message| message.set(set, body);
    assert_beside_good_sets(&mut rig, message, announced, &[Moved::Damage(reason, 1)]);
    assert_eq!((rig.store.templates(), rig.statistics().templates.changed), (known, 2));
}

#[test]
fn template_ids_below_256() {
    for id in [0, 2, 255] {
        assert_refused(Message::ipfix(), 2, &template(id, &[field(1, 4)]), Reason::TemplateId);
        assert_refused(Message::v9(), 0, &template(id, &[field(1, 4)]), Reason::TemplateId);
    }
}

#[test]
fn more_fields_than_are_there() {
    for count in [4u16, 100, 65_535] {
        let mut body = template(256, GOOD);
        body[2..4].copy_from_slice(&count.to_be_bytes());
        assert_refused(Message::ipfix(), 2, &body, Reason::TemplateTruncated);
        assert_refused(Message::v9(), 0, &body, Reason::TemplateTruncated);
    }
}

#[test]
fn an_error_in_a_template_says_where() {
    let mut rig = Rig::new();
    let mut body = template(256, GOOD);
    body[3] = 4;
    rig.take(Message::ipfix().templates(&[(300, GOOD)]).set(2, body).build());
    assert_eq!(rig.errors(), ["at byte 56: in set 2: in template 256: template goes beyond its set"]);
}

#[test]
fn fields_without_octets() {
    let all_empty = template(256, &[field(1, 0), field(2, 0)]);
    let hardly_any = template(256, &[field(1, 0), field(2, 0), field(4, 1)]);
    for body in [all_empty, hardly_any] {
        assert_refused(Message::ipfix(), 2, &body, Reason::TemplateEmpty);
        assert_refused(Message::v9(), 0, &body, Reason::TemplateEmpty);
    }
    assert_refused(Message::v9(), 0, &template(256, &[]), Reason::TemplateEmpty);
}

#[test]
fn one_empty_field_beside_others_is_nothing_bad() {
    let mut rig = Rig::new();
    let message = Message::v9().templates(&[(256, &[field(1, 0), field(2, 4), field(1, 4)])]);
    assert_eq!(rig.take(message.set(256, [0, 0, 0, 7, 0, 0, 0, 9]).build()), Verdict::Decoded);
    assert_eq!((rig.kept.flows()[0].packets, rig.kept.flows()[0].bytes), (7, 9));
}

#[test]
fn records_longer_than_a_message() {
    let body = template(256, &[field(1, 0xff00), field(2, 0x0100)]);
    assert_refused(Message::ipfix(), 2, &body, Reason::TemplateTooLong);
    assert_refused(Message::v9(), 0, &body, Reason::TemplateTooLong);
    let longest = Message::ipfix().templates(&[(256, &[field(1, 0xff00), field(2, 0x00ff)])]);
    assert_eq!(Rig::new().take(longest.build()), Verdict::Decoded, "65535 octets are none too many");
}

#[test]
fn more_fields_than_anybody_has() {
    let body = template(256, &vec![field(1, 1); 1025]);
    assert_refused(Message::ipfix(), 2, &body, Reason::TemplateTooLong);
    assert_refused(Message::v9(), 0, &body, Reason::TemplateTooLong);
}

/// Where one is refused whose end is known, those behind it are read; where its end is not known, those before it hold.
#[test]
fn good_templates_in_one_set_with_a_bad_one_are_learnt() {
    let good = |id| template(id, GOOD);
    let empty = template(257, &[field(1, 0)]);
    let mut cut = template(258, GOOD);
    cut[3] = 100;
    let body = [good(300), template(5, GOOD), empty, good(301), cut].concat();
    for (message, set) in [(Message::ipfix(), 2), (Message::v9(), 0)] {
        let mut rig = prepared();
        let counters = [Reason::TemplateId, Reason::TemplateTruncated, Reason::TemplateEmpty];
        let counters = counters.map(|reason| Moved::Damage(reason, 1));
        assert_beside_good_sets(&mut rig, message, |message| message.set(set, &body), &counters);
        assert_eq!(rig.store.templates(), 4, "300 and 301 beside the good ones");
    }
}

#[test]
fn a_template_set_beyond_the_message_teaches_nothing() {
    for (message, set) in [(Message::ipfix(), 2), (Message::v9(), 0)] {
        let mut rig = prepared();
        let before = *rig.statistics();
        let body = template(256, &[field(2, 4), field(1, 4), field(4, 2)]);
        let message = message.set(256, GOOD_RECORD).set_that_says(set, 500, body);
        assert_eq!(rig.take(message.build()), Verdict::PartlyDecoded);
        assert_eq!(moved(&before, rig.statistics()), [Moved::Damage(Reason::SetLength, 1)]);
        assert_eq!((rig.kept.flows().len(), rig.statistics().templates.changed), (1, 2));
    }
}

#[test]
fn a_template_of_variable_lengths_only() {
    let mut rig = prepared();
    let announced = |message: Message| {
        message.templates(&[(300, &[varlen(96), varlen(82)])]).set(300, b"\x03dns\x00\x00\x01x\x00\x00")
    };
    assert_beside_good_sets(&mut rig, Message::ipfix(), announced, &[]);
    let names: Vec<_> = rig.kept.flows().iter().map(|flow| flow.application_name.clone()).collect();
    assert_eq!(
        names,
        ["", "dns", "", "", ""],
        "a record of two empty fields is one, whatever else zeros mean"
    );
}

/// As H3C's NetStream sends VRF names, the one octet of an empty one in the long form.
#[test]
fn a_length_of_65535_is_a_variable_length_in_v9_too() {
    let mut rig = Rig::new();
    rig.take(Message::v9().templates(&[(256, &[field(2, 4), varlen(96)])]).build());
    let records = b"\0\0\0\x07\x03dns\0\0\0\x08\xff\0\x01\0\0\0\0\x09\xff\0\x04http";
    assert_eq!(rig.take(Message::v9().set(256, records).build()), Verdict::Decoded);
    let flows = rig.kept.flows();
    let of: Vec<_> = flows.iter().map(|flow| (flow.packets, flow.application_name.as_str())).collect();
    assert_eq!(of, [(7, "dns"), (8, ""), (9, "http")]);
}

#[test]
fn odd_lengths_of_four_octet_elements_are_read_over() {
    for length in [50, 128, 65_534u16] {
        let mut rig = Rig::new();
        let message = Message::ipfix().templates(&[(256, &[field(10, length), field(2, 1)])]);
        assert_eq!(rig.take(message.build()), Verdict::Decoded, "length {length}");
        let record = [vec![0; usize::from(length)], vec![9]].concat();
        if record.len() < 65_000 {
            assert_eq!(rig.take(Message::ipfix().set(256, record).build()), Verdict::Decoded);
            assert_eq!(rig.kept.flows()[0].packets, 9);
        }
    }
}

#[test]
fn of_an_element_that_is_repeated_the_first_counts() {
    let mut rig = Rig::new();
    let message = Message::v9().templates(&[(256, &[field(1, 1); 40])]);
    assert_eq!(rig.take(message.set(256, (1..=40).collect::<Vec<u8>>()).build()), Verdict::Decoded);
    assert_eq!(rig.kept.flows()[0].bytes, 1);
}

#[test]
fn one_id_as_data_and_as_options_template_is_what_came_last() {
    let mut rig = prepared();
    rig.take(Message::v9().options_template(256, &[field(1, 4)], &[field(34, 4), field(50, 2)]).build());
    assert_eq!(rig.take(Message::v9().set(256, GOOD_RECORD).build()), Verdict::Decoded);
    assert_eq!((rig.kept.flows().len(), rig.kept.options().len()), (0, 1));
    assert_eq!(rig.store.templates(), 2, "v9's and IPFIX's");
}

#[test]
fn two_definitions_of_one_id_in_a_message_hold_each_from_where_it_stands() {
    let mut rig = Rig::new();
    let other = [field(2, 4), field(1, 4), field(4, 2)];
    let message = Message::ipfix()
        .templates(&[(256, GOOD)])
        .set(256, GOOD_RECORD)
        .templates(&[(256, &other)])
        .set(256, GOOD_RECORD);
    assert_eq!(rig.take(message.build()), Verdict::Decoded);
    let bytes: Vec<_> = rig.kept.flows().iter().map(|flow| flow.bytes).collect();
    assert_eq!(bytes, [1000, 10]);
    assert_eq!(rig.statistics().templates.changed, 2);
}

#[test]
fn options_templates_with_an_impossible_scope() {
    let ipfix = |scope_count: u16| {
        let mut body = ipfix_options_template(256, &[field(1, 4)], &[field(34, 4)]);
        body[4..6].copy_from_slice(&scope_count.to_be_bytes());
        body
    };
    assert_refused(Message::ipfix(), 3, &ipfix(3), Reason::TemplateScope);
    assert_refused(Message::ipfix(), 3, &ipfix(65_535), Reason::TemplateScope);
    let v9 = |scope: u16, options: u16| {
        let mut body = v9_options_template(256, &[field(1, 4)], &[field(34, 4)]);
        body[2..4].copy_from_slice(&scope.to_be_bytes());
        body[4..6].copy_from_slice(&options.to_be_bytes());
        body
    };
    assert_refused(Message::v9(), 1, &v9(3, 4), Reason::TemplateScope);
    assert_refused(Message::v9(), 1, &v9(4, 3), Reason::TemplateScope);
    assert_refused(Message::v9(), 1, &v9(4, 400), Reason::TemplateTruncated);
}

/// Juniper SRX.
#[test]
fn a_scope_of_no_octets_is_kept_in_name() {
    let mut rig = Rig::new();
    let message = Message::v9().options_template(256, &[field(1, 0)], &[field(34, 4)]);
    assert_eq!(rig.take(message.set(256, [0, 0, 0, 100]).build()), Verdict::Decoded);
    let options = rig.kept.options();
    let elements: Vec<_> =
        options[0].elements.iter().map(|e| (e.scope, e.name.as_str(), e.value.len())).collect();
    assert_eq!(elements, [(true, "SYSTEM", 0), (false, "samplingInterval", 4)]);
}

/// RFC 7011 3.4.2.2 forbids a scope count of 0, and exporters send it.
#[test]
fn options_templates_of_scope_only_or_without_scope() {
    for message in [Message::ipfix, Message::v9] {
        for (scope, options) in [(&[field(1, 4)][..], &[][..]), (&[][..], &[field(34, 4)][..])] {
            let mut rig = prepared();
            let options_data =
                |message: Message| message.options_template(300, scope, options).set(300, [0, 0, 0, 7]);
            assert_beside_good_sets(&mut rig, message(), options_data, &[]);
            let elements = &rig.kept.options()[0].elements;
            assert_eq!((elements.len(), elements[0].scope), (1, options.is_empty()));
            let rate = rig.kept.flows()[1].sampling_rate;
            assert_eq!(rate, if options.is_empty() { 0 } else { 7 }, "of data behind it");
        }
    }
}

#[test]
fn an_enterprise_bit_without_its_number() {
    let mut body = template(256, &GOOD[..1]);
    body[3] = 2;
    put16(&mut body, 0x8001);
    put16(&mut body, 4);
    assert_refused(Message::ipfix(), 2, &body, Reason::TemplateTruncated);
    body.extend([0, 0, 1]);
    assert_refused(Message::ipfix(), 2, &body, Reason::TemplateTruncated);
}

#[test]
fn enterprise_zero_is_iana_and_reverse_elements_are_their_own() {
    let mut rig = Rig::new();
    let fields = [vendor(0, 1, 1), vendor(29305, 1, 1), vendor(29305, 8, 4)];
    let message = Message::ipfix().templates(&[(256, &fields)]).set(256, [5, 6, 1, 2, 3, 4]);
    assert_eq!(rig.take(message.build()), Verdict::Decoded);
    let flow = &rig.kept.flows()[0];
    assert_eq!((flow.bytes, flow.reverse_bytes, flow.src_addr.len()), (5, 6, 0));
}

#[test]
fn v9_types_from_32768_on_have_no_enterprise() {
    let mut rig = Rig::new();
    let message = Message::v9().templates(&[(256, &[field(34_000, 2), field(0x8001, 4), field(1, 1)])]);
    assert_eq!(rig.take(message.set(256, [0, 9, 1, 2, 3, 4, 7]).build()), Verdict::Decoded);
    assert_eq!((rig.kept.flows()[0].src_sgt, rig.kept.flows()[0].bytes), (9, 7));
}

/// Of a template that is known, of one that is not, and of all options templates.
#[test]
fn withdrawals_are_counted_and_ignored() {
    for (set, body) in [(2, [1, 0, 0, 0]), (2, [1, 44, 0, 0]), (3, [0, 3, 0, 0])] {
        let mut rig = prepared();
        let withdrawn = |message: Message| message.set(set, body);
        assert_beside_good_sets(&mut rig, Message::ipfix(), withdrawn, &[Moved::Withdrawn(1)]);
        assert_eq!(rig.store.templates(), 2);
    }
}

#[test]
fn source_ports_that_disagree_are_a_conflict_for_others() {
    let mut rig = prepared();
    rig.take_from(exporter(2056), Message::v9().templates(&[(256, &GOOD[..2])]).build());
    let data = Message::v9().set(256, GOOD_RECORD).build();
    let before = *rig.statistics();
    assert_eq!(rig.take_from(exporter(2057), &data), Verdict::Decoded);
    assert_eq!(moved(&before, rig.statistics()), [Moved::Held(1), Moved::Conflicts(1)]);
    assert_eq!(rig.settled().sets.pending, 1);
    assert_eq!(rig.take(&data), Verdict::Decoded, "a port that announced one has no conflict");
}

#[test]
fn data_without_a_template_costs_its_set_where_nothing_may_wait() {
    let pending = PendingLimits { bytes: 0, ..PendingLimits::default() };
    let mut rig = Rig::with_limits(StoreLimits { pending, ..StoreLimits::default() });
    rig.take(Message::v9().templates(&[(256, GOOD)]).build());
    let counters = [Moved::Damage(Reason::NoTemplate, 1), Moved::Set(Reason::NoTemplate, 1)];
    assert_beside_good_sets(&mut rig, Message::v9(), |message| message.set(999, [1; 20]), &counters);
    assert_eq!(rig.errors(), ["at byte 38: in set 2: in template 999: no template for this set"]);
}

/// Where source ports disagree and where an exporter has restarted there is a template, but nobody knows whether it is the one.
#[test]
fn data_whose_template_is_in_doubt_costs_its_set_where_nothing_may_wait() {
    let pending = PendingLimits { bytes: 0, ..PendingLimits::default() };
    let mut rig = Rig::with_limits(StoreLimits { pending, ..StoreLimits::default() });
    rig.take_from(exporter(1), Message::v9().templates(&[(256, GOOD)]).build());
    rig.take_from(exporter(2), Message::v9().templates(&[(256, &GOOD[..2])]).build());
    let before = *rig.statistics();
    let verdict = rig.take_from(exporter(3), Message::v9().set(256, GOOD_RECORD).build());
    let doubtful = |reason| [Moved::Damage(reason, 1), Moved::Set(reason, 1)];
    let conflict = doubtful(Reason::TemplateConflict).into_iter().chain([Moved::Conflicts(1)]);
    assert_eq!((verdict, moved(&before, rig.statistics())), (Verdict::PartlyDecoded, conflict.collect()));
    let before = *rig.statistics();
    let restarted = Message::v9().uptime(1000).export_time(crate::wire::EXPORT_TIME + 600).sequence(0);
    let verdict = rig.take_from(exporter(1), restarted.set(256, GOOD_RECORD).build());
    let suspect = doubtful(Reason::TemplateSuspect).to_vec();
    assert_eq!((verdict, moved(&before, rig.statistics())), (Verdict::PartlyDecoded, suspect));
}

#[test]
fn data_without_a_template_waits_and_costs_nothing_else() {
    let mut rig = prepared();
    let unknown = |message: Message| message.set(999, [1; 20]);
    assert_beside_good_sets(&mut rig, Message::v9(), unknown, &[Moved::Held(1)]);
    assert_beside_good_sets(&mut rig, Message::ipfix(), unknown, &[Moved::Held(1)]);
}

#[test]
fn templates_beyond_their_number_are_refused_and_known_ones_are_kept() {
    let mut rig = Rig::with_limits(StoreLimits { templates_per_scope: 3, ..StoreLimits::default() });
    rig.take(Message::ipfix().templates(&[(256, GOOD)]).build());
    let many = |message: Message| message.templates(&[(300, GOOD), (301, GOOD), (302, GOOD), (303, GOOD)]);
    let counters = [Moved::Damage(Reason::TemplateLimit, 2)];
    assert_beside_good_sets(&mut rig, Message::ipfix(), many, &counters);
    assert_eq!(rig.store.templates(), 3);
}
