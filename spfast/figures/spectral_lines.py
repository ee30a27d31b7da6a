"""Strong lines of red giants between 1.51 and 1.70 micron, to be marked in figures."""

__all__ = ["SPECTRAL_LINES"]

#: Species and wavelengths in vacuum [Angstrom]. Atoms and OH: lines of Smith et al. (2013, ApJ 765, 16), air converted
#: to vacuum, and Ce II of Cunha et al. (2017, ApJ 844, 145). CO: heads of the second-overtone bands 3-0 to 9-6, from
#: the constants of Huber & Herzberg (1979). Br: hydrogen n to 4 from Rydberg's formula. DIB: the diffuse
#: interstellar band (Zasowski et al. 2015, ApJ 798, 35), in the star's rest frame only where the cloud moves along.
SPECTRAL_LINES = {
    "Fe": (15211.7, 15298.7, 15595.8, 15625.9, 15636.2, 15666.3, 15985.1, 16045.0, 16157.7, 16169.4, 16491.2),
    "Mg": (15745.0, 15753.2, 15770.1, 15883.8, 15890.5, 15958.8),
    "Al": (16723.5, 16755.1, 16767.9),
    "Si": (15365.4, 15381.0, 15892.8, 15964.4, 16064.4, 16099.2, 16220.1, 16685.3, 16832.8),
    "K": (15167.2, 15172.5),
    "Ca": (16141.2, 16155.2, 16159.7, 16161.8),
    "Ti": (15548.0, 15607.1, 15719.9),
    "V": (15928.3,),
    "Cr": (15684.3,),
    "Mn": (15222.0, 15266.6),
    "Co": (16762.3,),
    "Ni": (15609.9, 15636.9, 16593.8, 16678.3),
    "Na": (16393.3,),
    "C": (16009.3, 16895.0),
    "Ce": (15789.1,),
    "OH": (15282.7, 15573.1, 15631.7, 16194.5, 16876.9),
    "CO": (15581.7, 15779.5, 15982.0, 16189.2, 16401.3, 16618.5, 16840.9),
    "Br": (15705.0, 15884.9, 16113.7, 16411.7, 16811.1),
    "DIB": (15272.4,),
}
