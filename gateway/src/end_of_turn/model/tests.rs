use super::*;

/// An ONNX file, written as the protocol buffers of onnx.proto3 by hand: one input, and a sigmoid of the mean of what is in
/// it, or the mean alone.
mod file {
    fn field(number: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        bytes.extend(varint(payload.len() as u64));
        bytes.extend(payload);
        bytes
    }

    fn number(field: u8, value: u64) -> Vec<u8> {
        [vec![field << 3], varint(value)].concat()
    }

    fn varint(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    /// A value of 32-bit floats (element type 1) or another type.
    fn value(name: &str, element: u64, shape: &[Option<u64>]) -> Vec<u8> {
        let dimension = |size: &Option<u64>| match size {
            Some(size) => field(1, &number(1, *size)),
            None => field(1, &field(2, b"any")),
        };
        let shape: Vec<u8> = shape.iter().flat_map(dimension).collect();
        let tensor = [number(1, element), field(2, &shape)].concat();
        [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
    }

    fn node(operator: &str, input: &str, output: &str, attribute: Option<Vec<u8>>) -> Vec<u8> {
        let mut bytes =
            [field(1, input.as_bytes()), field(2, output.as_bytes()), field(4, operator.as_bytes())].concat();
        bytes.extend(attribute.iter().flat_map(|attribute| field(5, attribute)));
        bytes
    }

    pub(super) fn of(element: u64, shape: &[Option<u64>], has_sigmoid: bool) -> Vec<u8> {
        let whole = [field(1, b"keepdims"), number(3, 0), vec![0xa0, 1, 2]].concat();
        let mut nodes = vec![node("ReduceMean", "heard", "mean", Some(whole))];
        if has_sigmoid {
            nodes.push(node("Sigmoid", "mean", "done", None));
        }
        let given = if has_sigmoid { "done" } else { "mean" };
        let graph = [
            nodes.iter().flat_map(|node| field(1, node)).collect(),
            field(2, b"test"),
            field(11, &value("heard", element, shape)),
            field(12, &value(given, 1, &[])),
        ];
        [number(1, 8), field(7, &graph.concat()), field(8, &number(2, 13))].concat()
    }
}

const FLOAT: u64 = 1;

/// A file of its own for each test.
fn written(name: &str, bytes: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("voxgate-test-{}-{name}.onnx", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    path
}

fn load(name: &str, bytes: &[u8]) -> Result<TurnModel, ModelError> {
    let path = written(name, bytes);
    let loaded = TurnModel::load(&path, 1);
    std::fs::remove_file(path).unwrap();
    loaded
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[test]
fn a_model_of_samples_hears_the_end_of_what_was_said_at_16_khz() {
    let model = load("samples", &file::of(FLOAT, &[None, Some(16_000)], true)).unwrap();
    assert_eq!(model.window(), Duration::from_secs(1));
    let constant = |rate: SampleRate, seconds: f64| Pcm {
        rate,
        samples: vec![16_384; (f64::from(rate.hz()) * seconds) as usize],
    };
    for rate in [SampleRate::HZ_16000, SampleRate::HZ_24000] {
        for (seconds, mean) in [(2.0, 0.5), (1.0, 0.5), (0.5, 0.25), (0.0, 0.0)] {
            let estimate = model.estimate(&constant(rate, seconds)).unwrap();
            assert!((estimate - sigmoid(mean)).abs() < 0.005, "{rate:?}, {seconds} s: {estimate}");
        }
    }
}

#[test]
fn a_model_of_spectrograms_hears_one_of_its_own_length() {
    for (frames, seconds) in [(Some(800), 8), (Some(100), 1), (None, 8)] {
        let model = load("mel", &file::of(FLOAT, &[Some(1), Some(80), frames], true)).unwrap();
        assert_eq!(model.window(), Duration::from_secs(seconds));
        let silence = Pcm { rate: SampleRate::HZ_16000, samples: vec![0; 1_000] };
        let estimate = model.estimate(&silence).unwrap();
        assert!((estimate - sigmoid(-1.5)).abs() < 1e-4, "{estimate}");
    }
}

#[test]
fn what_takes_something_else_is_refused_with_what_it_takes() {
    let shapes: [(u64, &[Option<u64>]); 7] = [
        (FLOAT, &[Some(1), Some(128), Some(800)]),
        (FLOAT, &[Some(2), Some(80), Some(800)]),
        (FLOAT, &[Some(1), Some(80), Some(99)]),
        (FLOAT, &[Some(1), Some(480_001)]),
        (FLOAT, &[Some(1), Some(u64::MAX >> 1)]),
        (FLOAT, &[Some(16_000)]),
        // 32-bit integers.
        (6, &[Some(1), Some(16_000)]),
    ];
    for (element, shape) in shapes {
        let error = load("shape", &file::of(element, shape, true)).unwrap_err();
        let sentence = error.to_string();
        assert!(matches!(error, ModelError::Inputs { .. } | ModelError::NotAModel { .. }), "{sentence}");
        assert!(!sentence.contains('\n'), "{sentence}");
    }
    let sentence =
        load("bands", &file::of(FLOAT, &[Some(1), Some(128), Some(800)], true)).unwrap_err().to_string();
    assert!(
        sentence.contains("[1, 80, frames]") && sentence.contains("heard") && sentence.contains("128"),
        "{sentence}"
    );
}

#[test]
fn what_gives_no_probability_is_refused_with_what_it_gives() {
    let sentence = load("logits", &file::of(FLOAT, &[None, Some(80), None], false)).unwrap_err().to_string();
    assert!(sentence.contains("gives -1.5"), "{sentence}");
}

#[test]
fn what_is_no_model_is_refused_in_one_sentence() {
    let missing = TurnModel::load(Path::new("/nonexistent/model.onnx"), 1).unwrap_err();
    assert!(matches!(missing, ModelError::Unreadable { .. }), "{missing}");
    let whole = file::of(FLOAT, &[None, Some(16_000)], true);
    for bytes in [&b""[..], b"RIFF....WAVE", &[0xff; 100], &whole[..whole.len() / 2]] {
        let error = load("broken", bytes).unwrap_err();
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

/// `SMART_TURN_MODEL=… cargo nextest run --release -p voxgate-gateway --run-ignored only --no-capture a_model_from_outside`
#[test]
#[ignore = "a measurement, and it needs a model"]
fn a_model_from_outside_is_timed() {
    let path = std::env::var("SMART_TURN_MODEL").unwrap();
    let threads = std::env::var("THREADS").map_or(1, |threads| threads.parse().unwrap());
    let model = TurnModel::load(Path::new(&path), threads).unwrap();
    let speech =
        Pcm { rate: SampleRate::HZ_24000, samples: (0..120_000).map(|n| (n % 777) as i16 * 9).collect() };
    let mut times: Vec<Duration> = (0..100)
        .map(|_| {
            let began = std::time::Instant::now();
            model.estimate(&speech).unwrap();
            began.elapsed()
        })
        .collect();
    times.sort();
    println!("{threads} threads: p50 {:?}, p99 {:?}", times[49], times[98]);
}
