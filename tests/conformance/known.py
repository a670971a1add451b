"""Cases whose expected values are off by more than their own tolerance: they count as wrong, and are no defects."""

_FFT = "its expected zeros hold the rounding of numpy's float32 FFT, 1.9e-7, and the tolerance there is 1e-7"
KNOWN = {"node/test_dft_inverse": _FFT, "node/test_dft_inverse_opset19": _FFT}
"""Case `group/name` -> why. `test_known_cases_agree_with_the_truth` holds each against float64."""
