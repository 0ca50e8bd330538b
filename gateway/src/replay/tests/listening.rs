//! Voices that are heard again.

use std::sync::Arc;

use voxgate_signaling::admin::voices::{Voices as _, VoicesError, Wanted};

use super::*;

const MS: Duration = Duration::from_millis(1);

/// Of the session of [`config`], as long as this.
fn axis(length: Duration) -> Axis {
    Axis { session: Some("sess_recorded".into()), began_unix_ms: 0, length }
}

/// Both channels of a file.
fn channels(wav: &[u8]) -> [Vec<i16>; 2] {
    let mut reader = hound::WavReader::new(wav).unwrap();
    let spec = reader.spec();
    assert_eq!((spec.channels, spec.sample_rate, spec.bits_per_sample), (2, 16_000, 16));
    let both: Vec<i16> = reader.samples::<i16>().map(Result::unwrap).collect();
    [0, 1].map(|channel| both.iter().skip(channel).step_by(2).copied().collect())
}

/// The root mean square of a stretch.
fn level(samples: &[i16], from: Duration, until: Duration) -> f64 {
    let place = |at: Duration| SampleRate::HZ_16000.samples_in(at).0 as usize;
    let stretch = &samples[place(from)..place(until)];
    let squares: f64 = stretch.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    (squares / stretch.len() as f64).sqrt()
}

/// A call in which somebody asks and is answered, 400 ms of it. When the answer begins.
fn answered(folder: &Folder) -> (Vec<u8>, Duration) {
    written(folder, true, Bounds::default(), |log| {
        let mut call = Call::new(log, config(TurnOwner::Gateway), None);
        let began = call.now;
        call.answer_a_question();
        let answered = call.now - began - 20 * FRAME;
        call.take(CoreInput::End(EndReason::HungUp));
        answered
    })
}

#[test]
fn the_caller_is_heard_left_and_the_agent_right_each_when_it_was() {
    let folder = Folder::new("listening");
    let (log, answer) = answered(&folder);
    let length = answer + 1_000 * MS;
    let [caller, agent] = channels(&voices(log.as_slice(), axis(length)).unwrap().unwrap());
    assert_eq!(Duration::from_millis(caller.len() as u64 / 16), length);
    let spoken = answer - 45 * FRAME;
    let said = level(&sentence(), Duration::ZERO, spoken);
    let heard = level(&caller, Duration::ZERO, spoken);
    assert!((0.8..1.2).contains(&(heard / said)), "{heard} of {said}");
    assert!(level(&caller, spoken + 200 * MS, answer) < 50.0);
    assert!(agent[..16 * (answer.as_millis() as usize - 20)].iter().all(|sample| *sample == 0));
    // White noise of which a third lies above what the file can hold.
    assert!(level(&agent, answer + 40 * MS, answer + 380 * MS) > 1_500.0);
    assert_eq!(level(&agent, answer + 500 * MS, length), 0.0);
}

#[test]
fn an_answer_that_was_cut_off_is_not_heard_to_its_end() {
    let folder = Folder::new("cut");
    let (log, (answer, end)) = written(&folder, true, Bounds::default(), |log| {
        let mut call = Call::new(log, config(TurnOwner::Gateway), None);
        let began = call.now;
        call.answer_a_question();
        let answer = call.now - began - 20 * FRAME;
        sentence().chunks_exact(320).for_each(|frame| call.hear(frame));
        assert_eq!(call.cleared, 1, "the caller spoke over the answer");
        let end = call.now - began;
        call.take(CoreInput::End(EndReason::HungUp));
        (answer, end)
    });
    let [_, agent] = channels(&voices(log.as_slice(), axis(end)).unwrap().unwrap());
    let last = agent.iter().rposition(|sample| *sample != 0).unwrap() as u64;
    let heard = Duration::from_millis(last / 16) - answer;
    // All of it is four seconds.
    assert!((400 * MS..3_500 * MS).contains(&heard), "{heard:?}");
}

#[test]
fn what_a_log_does_not_say_any_more_is_silence() {
    let folder = Folder::new("half");
    let (log, answer) = answered(&folder);
    let line = log[..log.len() / 3].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for rest in [&b""[..], b"{\"step\":", b"{\"step\":{}}\n", &[0xff; 100]] {
        let damaged = [&log[..line], rest].concat();
        let [caller, agent] = channels(&voices(damaged.as_slice(), axis(answer)).unwrap().unwrap());
        assert_eq!(Duration::from_millis(caller.len() as u64 / 16), answer);
        assert!(level(&caller, Duration::ZERO, 400 * MS) > 100.0);
        assert!(agent.iter().all(|sample| *sample == 0));
    }
}

#[test]
fn the_log_of_another_session_or_one_without_voices_gives_none() {
    let folder = Folder::new("none");
    let (log, _) = recorded(&folder, false, TurnOwner::Provider);
    assert!(voices(log.as_slice(), axis(FRAME)).unwrap().is_none());
    let (log, _) = recorded(&Folder::new("other"), true, TurnOwner::Provider);
    let other = Axis { session: Some("sess_other".into()), ..axis(FRAME) };
    assert!(voices(log.as_slice(), other).unwrap().is_none());
    assert!(matches!(voices(&b"no log"[..], axis(FRAME)), Err(LogError::Malformed { .. })));
}

#[test]
fn voices_are_found_by_the_name_of_their_session_until_they_are_too_old() {
    let folder = Folder::new("found");
    let retention = Retention { dir: folder.0.clone(), audio: true, keep: Duration::from_secs(3_600) };
    let log = Arc::new(ReplayLog::start(retention).unwrap());
    Call::new(&log, config(TurnOwner::Provider), None).run();
    let kept = KeptVoices(Some(log));
    let wanted = |session: &str| Wanted { session: session.into(), began_unix_ms: 0, length: 100 * MS };
    assert_eq!(kept.render(&wanted("sess_recorded")).unwrap().len(), 44 + 1_600 * 4);
    for other in ["recorded", "sess_other"] {
        assert_eq!(kept.render(&wanted(other)), Err(VoicesError::Removed), "{other}");
    }
    assert_eq!(KeptVoices(None).render(&wanted("sess_recorded")), Err(VoicesError::NotKept));
    let path = folder.logs().pop().unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(7_200)).unwrap();
    assert_eq!(kept.render(&wanted("sess_recorded")), Err(VoicesError::Removed));
}
