//! What the bins of a spectrum hold.

use voxgate_fourier::spectrum::forward;

#[test]
fn a_tone_of_a_whole_number_of_waves_is_in_one_bin() {
    let transform = forward(400);
    let mut samples = transform.make_input_vec();
    for (n, sample) in samples.iter_mut().enumerate() {
        *sample = (std::f32::consts::TAU * 25.0 * n as f32 / 400.0).cos();
    }
    let mut spectrum = transform.make_output_vec();
    transform.process(&mut samples, &mut spectrum).unwrap();
    assert_eq!(spectrum.len(), 201);
    for (bin, value) in spectrum.iter().enumerate() {
        let expected = if bin == 25 { 200.0 } else { 0.0 };
        assert!((value.norm() - expected).abs() < 1e-3, "bin {bin}: {value}");
    }
}
