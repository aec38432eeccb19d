//! Rows 13, 14 and 17: sampling and time, and what v5 and early options data say of them.

use flow_decoder::{Reason, Verdict};

use crate::rig::Rig;
use crate::wire::{EXPORT_TIME, Message, UPTIME, field, v5, v5_record};
use crate::{GOOD_RECORD, Moved, assert_beside_good_sets, damage, prepared};

const SECOND: u64 = 1_000_000_000;

/// The sampling rate of data, after an options record with these elements.
fn rate_after(options: &[(u16, u64)]) -> u64 {
    let mut rig = Rig::new();
    let fields: Vec<_> = options.iter().map(|(id, _)| field(*id, 8)).collect();
    let record: Vec<u8> = options.iter().flat_map(|(_, value)| value.to_be_bytes()).collect();
    let message = Message::ipfix()
        .options_template(300, &[field(149, 4)], &fields)
        .set(300, [&[0; 4][..], &record].concat())
        .templates(&[(256, &[field(1, 4)])])
        .set(256, [0, 0, 0, 1]);
    assert_eq!(rig.take(message.build()), Verdict::Decoded);
    rig.kept.flows()[0].sampling_rate
}

#[test]
fn sampling_rates_that_make_no_sense() {
    assert_eq!(rate_after(&[(34, 0)]), 0);
    assert_eq!(rate_after(&[(34, 0xffff_ffff)]), 0xffff_ffff);
    assert_eq!(
        rate_after(&[(34, 0xe803_0000)]),
        0xe803_0000,
        "a wrong byte order cannot be told from a rate"
    );
    assert_eq!(rate_after(&[(309, 100), (310, 1)]), 0, "population below sample");
    assert_eq!(rate_after(&[(309, 0), (310, 1000)]), 0);
    assert_eq!(rate_after(&[(305, 1), (306, 999)]), 1000);
    assert_eq!(rate_after(&[(311, f64::NAN.to_bits())]), 0);
    assert_eq!(rate_after(&[(311, (-0.5f64).to_bits())]), 0);
}

/// The same in the records themselves.
#[test]
fn sampling_rates_of_records_that_make_no_sense() {
    for (elements, rate) in [
        (&[(34, 0)][..], 0),
        (&[(34, u64::from(u32::MAX))], u64::from(u32::MAX)),
        (&[(310, 1), (309, 100)], 0),
        (&[(305, 0), (306, 9)], 0),
        (&[(48, 7)], 0),
    ] {
        let fields: Vec<_> =
            [field(1, 4)].into_iter().chain(elements.iter().map(|(id, _)| field(*id, 8))).collect();
        let values: Vec<u8> = elements.iter().flat_map(|(_, value)| value.to_be_bytes()).collect();
        let record = [&[0, 0, 0, 1][..], &values].concat();
        let mut rig = Rig::new();
        let message = Message::ipfix().templates(&[(256, &fields)]).set(256, record);
        assert_eq!(rig.take(message.build()), Verdict::Decoded);
        assert_eq!((rig.kept.flows()[0].sampling_rate, damage(&rig)), (rate, vec![]), "{elements:?}");
    }
}

/// Two bits of mode, fourteen of the interval; some exporters leave the mode 0.
#[test]
fn the_sampling_word_of_v5_in_any_form() {
    for (word, rate) in [(0u16, 0), (0x4000, 0), (100, 100), (0x4064, 100), (0xffff, 0x3fff)] {
        let mut datagram = v5(1, &v5_record());
        datagram[22..24].copy_from_slice(&word.to_be_bytes());
        let mut rig = Rig::new();
        assert_eq!(rig.take(datagram), Verdict::Decoded);
        assert_eq!((rig.kept.flows()[0].sampling_rate, damage(&rig)), (rate, vec![]), "{word:#x}");
    }
}

/// The rate holds for data behind it in the same datagram, whose template came first.
#[test]
fn options_data_before_its_template_in_one_packet() {
    for message in [Message::v9, Message::ipfix] {
        let mut rig = prepared();
        let options = [0, 0, 0, 0, 0, 0, 0, 100];
        let late = |message: Message| {
            message.set(300, options).options_template(300, &[field(1, 4)], &[field(34, 4)])
        };
        assert_beside_good_sets(&mut rig, message(), late, &[Moved::Held(1)]);
        assert_eq!(rig.kept.options().len(), 1, "decoded when its template came");
        assert_eq!(rig.settled().sets.pending, 0);
        rig.take(message().set(256, GOOD_RECORD).build());
        assert_eq!(rig.kept.flows().last().map(|flow| flow.sampling_rate), Some(100));
    }
}

#[test]
fn a_rate_of_another_source_id_is_not_taken() {
    let mut rig = Rig::new();
    let options = Message::v9().domain(0).options_template(300, &[field(1, 4)], &[field(34, 4)]);
    rig.take(options.set(300, [0, 0, 0, 0, 0, 0, 0, 100]).build());
    rig.take(Message::v9().domain(256).templates(&[(256, &[field(1, 4)])]).set(256, [1; 4]).build());
    assert_eq!(rig.kept.flows()[0].sampling_rate, 0);
}

/// Start and end of a v9 flow with these sysUpTimes.
fn times(message: Message, first: u32, last: u32) -> (u64, u64) {
    let mut rig = Rig::new();
    let record = [first.to_be_bytes(), last.to_be_bytes()].concat();
    let message = message.templates(&[(256, &[field(22, 4), field(21, 4)])]).set(256, record);
    assert_eq!(rig.take(message.build()), Verdict::Decoded);
    let flow = &rig.kept.flows()[0];
    (flow.time_flow_start_ns, flow.time_flow_end_ns)
}

#[test]
fn uptimes_that_wrap_run_ahead_or_go_backwards() {
    let export = u64::from(EXPORT_TIME) * SECOND;
    assert_eq!(times(Message::v9(), UPTIME - 2000, UPTIME - 1000), (export - 2 * SECOND, export - SECOND));
    let wrapped = times(Message::v9().uptime(500), u32::MAX - 499, 0x0000_00ff);
    assert_eq!(wrapped, (export - SECOND, export - 245_000_000), "the wrap lies between first and last");
    assert_eq!(times(Message::v9(), UPTIME + 1000, UPTIME).0, export + SECOND, "first is after the header");
    let (start, end) = times(Message::v9(), UPTIME - 1000, UPTIME - 2000);
    assert!(start > end, "kept as sent");
}

/// Microseconds and nanoseconds are seconds since 1900 and a binary fraction (RFC 7011 6.1.9, 6.1.10); numbers before 1970
/// count from 2036, and 0 is no time.
#[test]
fn fractions_of_seconds_are_those_of_ntp() {
    let ntp = |seconds: u32, fraction: u32| u64::from(seconds) << 32 | u64::from(fraction);
    let now = EXPORT_TIME.wrapping_add(2_208_988_800);
    let next_era = (u64::from(u32::MAX) + 1 - 2_208_988_800) * SECOND;
    for (start, end) in [(154, 155), (156, 157)] {
        for (stamp, ns) in [
            (ntp(now, 0x8000_0000), u64::from(EXPORT_TIME) * SECOND + SECOND / 2),
            (ntp(now, u32::MAX), (u64::from(EXPORT_TIME) + 1) * SECOND),
            (ntp(0, 1 << 31), next_era + SECOND / 2),
            (0, 0),
        ] {
            let mut rig = Rig::new();
            let message = Message::ipfix().templates(&[(256, &[field(start, 8), field(end, 8)])]);
            let record = [stamp.to_be_bytes(), stamp.to_be_bytes()].concat();
            assert_eq!(rig.take(message.set(256, record).build()), Verdict::Decoded);
            let flow = &rig.kept.flows()[0];
            assert_eq!((flow.time_flow_start_ns, flow.time_flow_end_ns), (ns, ns), "{start}: {stamp:#x}");
            assert_eq!(damage(&rig), []);
        }
    }
}

#[test]
fn export_times_at_the_ends_of_the_range() {
    assert_eq!(
        times(Message::v9().export_time(0), UPTIME - 2000, UPTIME - 1000),
        (0, 0),
        "before 1970 is left out"
    );
    let (start, _) = times(Message::v9().export_time(u32::MAX), UPTIME + 1000, UPTIME);
    assert_eq!(start, (u64::from(u32::MAX) + 1) * SECOND);
}

#[test]
fn absolute_times_that_do_not_fit_stop_at_the_greatest() {
    let mut rig = Rig::new();
    let fields = [field(152, 8), field(151, 8), field(154, 8)];
    let message = Message::ipfix().templates(&[(256, &fields)]);
    assert_eq!(rig.take(message.set(256, [0xff; 24]).build()), Verdict::Decoded);
    let flow = &rig.kept.flows()[0];
    assert!(flow.time_flow_start_ns > 0 && flow.time_flow_end_ns == u64::MAX);
    assert_eq!(rig.statistics().malformed[Reason::RecordTruncated], 0);
}
