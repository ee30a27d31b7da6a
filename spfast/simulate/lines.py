"""Lines of cool giants in the H band: vacuum wavelengths from published lists, and how species answer to labels."""

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
        15194.5: 0.28, 15207.5: 0.42, 15245.0: 0.36, 15294.6: 0.48, 15395.7: 0.30, 15490.3: 0.16, 15501.3: 0.24,
        15531.8: 0.26, 15534.3: 0.24, 15588.3: 0.26, 15591.5: 0.34, 15621.7: 0.46, 15631.9: 0.42, 15648.5: 0.25,
        15662.0: 0.30, 15691.9: 0.30, 15723.6: 0.38, 15769.1: 0.24, 15774.1: 0.32, 15818.1: 0.34, 15822.8: 0.22,
    },
    "Fe high": {
        15835.2: 0.28, 15868.5: 0.24, 15878.4: 0.26, 15895.2: 0.22, 15906.0: 0.30, 15920.6: 0.26, 15980.7: 0.36,
        16009.6: 0.34, 16040.7: 0.30, 16042.7: 0.30, 16102.4: 0.32, 16125.9: 0.28, 16153.2: 0.30, 16165.0: 0.34,
        16195.1: 0.24, 16198.5: 0.24, 16207.7: 0.28, 16231.7: 0.28, 16284.8: 0.22, 16318.7: 0.30, 16324.5: 0.36,
        16398.2: 0.34, 16486.7: 0.36, 16506.3: 0.28, 16517.2: 0.30, 16522.1: 0.28, 16524.5: 0.26, 16531.9: 0.30,
        16541.4: 0.26, 16561.8: 0.26, 16612.8: 0.24, 16645.9: 0.26, 16653.5: 0.22, 16665.5: 0.24, 16843.2: 0.22,
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
    "Ni": {15559.6: 0.22, 15609.9: 0.20, 15636.9: 0.24, 16589.4: 0.22, 16673.7: 0.20, 16677.5: 0.20},
    "Cr": {15684.4: 0.26, 15864.6: 0.14},
    "Co": {16761.9: 0.20},
    "V": {15928.9: 0.14},
    "Na": {16378.3: 0.16, 16393.3: 0.24},
    "S": {15407.1: 0.10, 15426.5: 0.16, 15473.0: 0.20, 15482.7: 0.16},
    "C": {16009.3: 0.16, 16895.0: 0.26},
    "Ce": {15784.8: 0.10, 16376.5: 0.08, 16595.2: 0.12, 16722.6: 0.08},
    "Nd": {15368.1: 0.06, 16053.6: 0.06, 16262.0: 0.05},
    "OH": {
        15278.5: 0.28, 15281.1: 0.24, 15391.2: 0.18, 15409.2: 0.22, 15505.7: 0.22, 15568.8: 0.28, 15572.1: 0.28,
        15626.7: 0.26, 15651.9: 0.24, 15653.5: 0.22, 15719.7: 0.20, 15755.5: 0.18, 15756.5: 0.18, 16052.8: 0.24,
        16056.5: 0.22, 16065.0: 0.20, 16069.5: 0.20, 16190.3: 0.26, 16192.2: 0.26, 16255.0: 0.24, 16260.2: 0.24,
        16312.5: 0.20, 16346.2: 0.20, 16352.2: 0.20, 16364.6: 0.18, 16368.1: 0.18, 16448.1: 0.18, 16450.4: 0.18,
        16526.3: 0.20, 16534.6: 0.20, 16605.5: 0.18, 16649.9: 0.16, 16656.1: 0.16, 16662.2: 0.16, 16704.8: 0.16,
        16708.9: 0.14, 16714.4: 0.14, 16872.3: 0.22, 16879.1: 0.22, 16886.2: 0.20, 16904.3: 0.20, 16909.3: 0.18,
    },
}  # fmt: skip

#: Heads of the second-overtone bands of 12CO, which run to the red with widening spacing.
_CO_HEADS = {15581.6: 0.34, 15780.0: 0.36, 15982.1: 0.38, 16189.5: 0.36, 16397.2: 0.34, 16610.6: 0.30, 16840.4: 0.26}
#: Hydrogen's Brackett series, upper level 11 to 20: broad and weak in giants.
_BRACKETT = {
    16811.1: 0.16, 16411.7: 0.14, 16113.7: 0.12, 15884.9: 0.10, 15705.0: 0.08, 15560.7: 0.07, 15443.1: 0.06,
    15345.9: 0.05, 15264.7: 0.04, 15196.0: 0.04,
}  # fmt: skip

#: Weak lines that fill the real spectrum between the listed ones: how many of each species, drawn once and for all.
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
    """Return every line of the synthesis.

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
    for head, strength in _CO_HEADS.items():
        j = np.arange(42)
        for w, s in zip(head + 0.012 * j**2 + 0.15 * j, strength * np.exp(-((j / 24.0) ** 2)), strict=True):
            rows.append(("CO", w, 0.45 * s, 0.06))
    rng = np.random.default_rng(_FOREST_SEED)
    for kind, count in _FOREST.items():
        low, high = 15120.0, 16980.0
        weak = 0.008 + 0.035 * rng.exponential(size=count)
        rows += [(kind, w, s, 0.06) for w, s in zip(rng.uniform(low, high, count), weak, strict=True)]
    species, wavelength, strength, width = zip(*rows, strict=True)
    return list(species), np.array(wavelength), np.array(strength), np.array(width)
