"""Lines of cool giants in the H band: vacuum wavelengths and strengths, and how each species depends on labels."""

import numpy as np

__all__ = ["SPECIES", "line_list"]

#: Per species: which abundance it follows, and the change of ln(strength) with 5040 K / Teff, log g and [element/H].
#: Molecules grow quickly towards cool stars; neutral metals slowly; hydrogen and ions the other way.
SPECIES = {
    "Fe low": ("fe_h", 2.6, -0.05, 0.80),
    "Fe high": ("fe_h", 0.6, -0.12, 0.75),
    "Mg": ("alpha_h", 0.9, 0.10, 0.70),
    "Si": ("alpha_h", -0.5, -0.04, 0.70),
    "Ca": ("alpha_h", 1.8, 0.02, 0.75),
    "Ti": ("alpha_h", 4.2, -0.10, 0.90),
    "Al": ("al_h", 1.5, 0.10, 0.80),
    "K": ("k_h", 1.6, -0.05, 0.80),
    "Mn": ("mn_h", 2.2, -0.05, 0.95),
    "Ni": ("ni_h", 0.8, -0.10, 0.75),
    "Cr": ("cr_h", 1.5, -0.10, 0.85),
    "Co": ("co_h", 1.8, -0.10, 0.90),
    "V": ("v_h", 4.5, -0.15, 0.95),
    "Na": ("na_h", 1.6, 0.00, 0.85),
    "S": ("s_h", -2.5, -0.15, 0.60),
    "C": ("c_h", -2.8, -0.15, 0.90),
    "Ce": ("ce_h", 0.5, -0.40, 0.85),
    "Nd": ("nd_h", 0.5, -0.40, 0.85),
    "OH": ("o_h", 4.6, -0.12, 0.95),
    "CO": ("c_h", 3.0, -0.14, 1.05),
    "CN": ("cn_h", 1.8, -0.22, 1.20),
    "H": ("none", -3.5, 0.05, 0.0),
}

#: Species: wavelengths [Angstrom, vacuum] and central optical depths in a giant of 4500 K, log g 2, solar.
_LINES = {
    "Fe low": {
        15198.7: 0.28, 15211.7: 0.42, 15249.2: 0.36, 15298.8: 0.48, 15399.9: 0.30, 15494.5: 0.16, 15505.5: 0.24,
        15536.1: 0.26, 15538.6: 0.24, 15592.6: 0.26, 15595.8: 0.34, 15626.0: 0.46, 15636.2: 0.42, 15652.8: 0.25,
        15666.3: 0.30, 15696.2: 0.30, 15727.9: 0.38, 15773.4: 0.24, 15778.4: 0.32, 15822.4: 0.34, 15827.1: 0.22,
    },
    "Fe high": {
        15839.5: 0.28, 15872.8: 0.24, 15882.8: 0.26, 15899.6: 0.22, 15910.4: 0.30, 15925.0: 0.26, 15985.1: 0.36,
        16014.0: 0.34, 16045.1: 0.30, 16047.1: 0.30, 16106.8: 0.32, 16130.3: 0.28, 16157.6: 0.30, 16169.4: 0.34,
        16199.5: 0.24, 16202.9: 0.24, 16212.1: 0.28, 16236.1: 0.28, 16289.3: 0.22, 16323.2: 0.30, 16329.0: 0.36,
        16402.7: 0.34, 16491.2: 0.36, 16510.8: 0.28, 16521.7: 0.30, 16526.6: 0.28, 16529.0: 0.26, 16536.4: 0.30,
        16545.9: 0.26, 16566.3: 0.26, 16617.4: 0.24, 16650.5: 0.26, 16658.1: 0.22, 16670.1: 0.24, 16847.8: 0.22,
    },
    "Mg": {15744.9: 0.95, 15753.2: 1.10, 15770.1: 1.25, 15883.8: 0.38, 15890.5: 0.50, 15958.8: 0.42},
    "Si": {
        15361.2: 0.26, 15376.8: 0.42, 15892.8: 0.78, 15964.4: 0.70, 16064.4: 0.52, 16099.2: 0.62, 16220.1: 0.58,
        16246.0: 0.24, 16685.3: 0.55, 16832.8: 0.34,
    },
    "Ca": {16141.2: 0.28, 16154.8: 0.34, 16161.8: 0.36, 16201.5: 0.44},
    "Ti": {15339.0: 0.22, 15548.0: 0.30, 15607.1: 0.18, 15719.9: 0.20, 16639.7: 0.16},
    "Al": {16723.5: 0.85, 16755.1: 1.05, 16767.9: 0.80},
    "K": {15167.2: 0.36, 15172.5: 0.42},
    "Mn": {15163.3: 0.28, 15221.9: 0.42, 15266.2: 0.38},
    "Ni": {15559.6: 0.22, 15609.9: 0.20, 15636.9: 0.24, 16588.9: 0.22, 16593.8: 0.20, 16678.3: 0.20},
    "Cr": {15684.4: 0.26, 15864.6: 0.14},
    "Co": {16761.9: 0.20},
    "V": {15928.9: 0.14},
    "Na": {16378.3: 0.16, 16393.3: 0.24},
    "S": {15408.0: 0.10, 15426.5: 0.16, 15474.0: 0.20, 15482.7: 0.16},
    "C": {16009.3: 0.16, 16895.0: 0.26},
    "Ce": {15789.1: 0.10, 16381.0: 0.08, 16599.7: 0.12, 16727.2: 0.08},
    "Nd": {15372.3: 0.06, 16058.0: 0.06, 16266.5: 0.05},
    "OH": {
        15282.7: 0.28, 15285.3: 0.24, 15395.4: 0.18, 15413.4: 0.22, 15509.9: 0.22, 15573.1: 0.28, 15576.4: 0.28,
        15631.0: 0.26, 15656.2: 0.24, 15657.8: 0.22, 15724.0: 0.20, 15759.8: 0.18, 15760.8: 0.18, 16057.2: 0.24,
        16059.9: 0.20, 16066.1: 0.20, 16069.4: 0.20, 16073.9: 0.20, 16194.7: 0.26, 16196.6: 0.26, 16259.5: 0.24,
        16264.7: 0.24, 16356.7: 0.20, 16369.1: 0.18, 16372.6: 0.18, 16452.6: 0.18, 16454.9: 0.18, 16530.8: 0.20,
        16539.1: 0.20, 16610.0: 0.18, 16654.5: 0.16, 16660.7: 0.16, 16666.8: 0.16, 16709.4: 0.16, 16719.0: 0.14,
        16876.9: 0.22, 16883.7: 0.22, 16890.8: 0.20, 16908.9: 0.20, 16913.9: 0.18,
    },
}  # fmt: skip

#: Constants of CO's ground state [1/cm] (Huber & Herzberg 1979): harmonic, anharmonic, rotation and its corrections.
_CO_VIBRATION = (2169.8136, -13.2883, 0.0105)
_CO_ROTATION = (1.931281, -0.017504, 5.5e-7)
_CO_STRETCH = 6.1215e-6
#: Second-overtone bands v to v + 3, rotational levels, and optical depth of a strong line of the 3-0 band.
_CO_BANDS, _CO_LEVELS, _CO_STRENGTH = 7, 100, 0.07
#: hc / k [K cm], and the reference giant's temperature [K].
_KELVIN_CM, _REFERENCE_TEFF = 1.438777, 4500.0
#: Hydrogen's Brackett series, upper level 11 to 20: broad and weak in giants.
_BRACKETT = {
    16811.1: 0.16, 16411.7: 0.14, 16113.7: 0.12, 15884.9: 0.10, 15705.0: 0.08, 15560.7: 0.07, 15443.1: 0.06,
    15345.9: 0.05, 15264.7: 0.04, 15196.0: 0.04,
}  # fmt: skip

#: Number of weak lines of each species between the listed ones; they are the same for all surveys.
_FOREST = {
    "CN": 900,
    "Fe low": 260,
    "Fe high": 220,
    "OH": 160,
    "CO": 260,
    "Ti": 60,
    "Ni": 70,
    "Si": 40,
    "Cr": 30,
    "V": 30,
}
_FOREST_SEED = 15271690


def line_list():
    """Return every line of the synthetic spectra.

    Returns
    -------
    species : list of str
        Keys of `SPECIES`.
    wavelength : float64 array [Angstrom, vacuum]
    strength : float64 array
        Central optical depth in the reference giant (4500 K, log g 2, solar) at the spectrograph's resolution.
    width : float64 array [Angstrom]
        Intrinsic Gaussian sigma, before the spectrograph's.
    """
    rows = [(kind, w, s, 0.06) for kind, lines in _LINES.items() for w, s in lines.items()]
    rows += [("H", w, s, 3.5) for w, s in _BRACKETT.items()]
    rows += [("CO", w, s, 0.06) for w, s in zip(*_carbon_monoxide(), strict=True)]
    rng = np.random.default_rng(_FOREST_SEED)
    for kind, count in _FOREST.items():
        low, high = 15120.0, 16980.0
        weak = 0.008 + 0.035 * rng.exponential(size=count)
        rows += [(kind, w, s, 0.06) for w, s in zip(rng.uniform(low, high, count), weak, strict=True)]
    species, wavelength, strength, width = zip(*rows, strict=True)
    return list(species), np.array(wavelength), np.array(strength), np.array(width)


def _carbon_monoxide():
    """Return wavelengths and strengths of the second-overtone lines of 12CO, from the energies of its levels.

    The R branches turn back near J = 34, which makes the band heads.
    """

    def energy(v, j):
        vibration = sum(c * (v + 0.5) ** (k + 1) for k, c in enumerate(_CO_VIBRATION))
        rotation = sum(c * (v + 0.5) ** k for k, c in enumerate(_CO_ROTATION))
        return vibration + rotation * j * (j + 1) - _CO_STRETCH * (j * (j + 1)) ** 2

    wavelength, strength = [], []
    for v in range(_CO_BANDS):
        for step in (1, -1):
            j = np.arange(1, _CO_LEVELS)
            population = np.exp(-_KELVIN_CM * (energy(v, j) - energy(0, 0)) / _REFERENCE_TEFF)
            wavelength.append(1e8 / (energy(v + 3, j + step) - energy(v, j)))
            # The transition moment of a second overtone grows as (v + 1)(v + 2)(v + 3).
            moment = (v + 1) * (v + 2) * (v + 3) / 6.0
            strength.append(moment * population * (2 * j + 1 + step) / 2.0)
    wavelength, strength = np.concatenate(wavelength), np.concatenate(strength)
    return wavelength, _CO_STRENGTH * strength / strength[: _CO_LEVELS - 1].max()
