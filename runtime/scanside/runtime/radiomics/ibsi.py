"""IBSI codes of pyradiomics' features: what a DICOM structured report names them by."""

from dataclasses import dataclass

from scanside.runtime.radiomics.names import Class


@dataclass(frozen=True)
class Code:
    """A feature in the Image Biomarker Standardisation Initiative's reference manual.

    Attributes:
        value: Permanent identifier.
        meaning: DICOM's words where DICOM has the code, else the manual's.
        dicom: Whether DICOM PS3.16 has it (coding scheme designator IBSI). Statistics of grey values are not among
            them: a report needs another scheme's codes for those.
    """

    value: str
    meaning: str
    dicom: bool


CODES: dict[tuple[Class, str], Code] = {
    ("shape", "MeshVolume"): Code("RNU0", "Volume of Mesh", True),
    ("shape", "VoxelVolume"): Code("YEKZ", "Volume from Voxel Summation", True),
    ("shape", "SurfaceArea"): Code("C0JK", "Surface Area of Mesh", True),
    ("shape", "SurfaceVolumeRatio"): Code("2PR5", "Surface to Volume Ratio", True),
    ("shape", "Sphericity"): Code("QCFX", "Sphericity", True),
    ("shape", "Maximum3DDiameter"): Code("L0JK", "Maximum 3D Diameter of a Mesh", True),
    ("shape", "MajorAxisLength"): Code("TDIC", "Major Axis in 3D Length", True),
    ("shape", "MinorAxisLength"): Code("P9VJ", "Minor Axis in 3D Length", True),
    ("shape", "LeastAxisLength"): Code("7J51", "Least Axis in 3D Length", True),
    ("shape", "Elongation"): Code("Q3CK", "Elongation", True),
    ("shape", "Flatness"): Code("N17B", "Flatness", True),
    ("firstorder", "Mean"): Code("Q4LE", "Mean Intensity", False),
    ("firstorder", "Variance"): Code("ECT3", "Intensity Variance", False),
    ("firstorder", "Skewness"): Code("KE2A", "Intensity Skewness", False),
    ("firstorder", "Kurtosis"): Code("IPH6", "(Excess) Intensity Kurtosis", False),
    ("firstorder", "Median"): Code("Y12H", "Median Intensity", False),
    ("firstorder", "Minimum"): Code("1GSF", "Minimum Intensity", False),
    ("firstorder", "10Percentile"): Code("QG58", "10th Intensity Percentile", False),
    ("firstorder", "90Percentile"): Code("8DWT", "90th Intensity Percentile", False),
    ("firstorder", "Maximum"): Code("84IY", "Maximum Intensity", False),
    ("firstorder", "InterquartileRange"): Code("SALO", "Intensity Interquartile Range", False),
    ("firstorder", "Range"): Code("2OJQ", "Intensity Range", False),
    ("firstorder", "MeanAbsoluteDeviation"): Code("4FUA", "Intensity-based Mean Absolute Deviation", False),
    ("firstorder", "RobustMeanAbsoluteDeviation"): Code(
        "1128", "Intensity-based Robust Mean Absolute Deviation", False
    ),
    ("firstorder", "Energy"): Code("N8CA", "Intensity-based Energy", False),
    ("firstorder", "RootMeanSquared"): Code("5ZWQ", "Root Mean Square Intensity", False),
    ("firstorder", "Entropy"): Code("TLU2", "Intensity Histogram Entropy", True),
    ("firstorder", "Uniformity"): Code("BJ5W", "Intensity Histogram Uniformity", True),
    ("glcm", "Autocorrelation"): Code("QWB0", "Autocorrelation of GLCM", True),
    ("glcm", "ClusterProminence"): Code("AE86", "Cluster Prominence of GLCM", True),
    ("glcm", "ClusterShade"): Code("7NFM", "Cluster Shade of GLCM", True),
    ("glcm", "ClusterTendency"): Code("DG8W", "Cluster Tendency of GLCM", True),
    ("glcm", "Contrast"): Code("ACUI", "Contrast of GLCM", True),
    ("glcm", "Correlation"): Code("NI2N", "Correlation of GLCM", True),
    ("glcm", "DifferenceAverage"): Code("TF7R", "Difference Average of GLCM", True),
    ("glcm", "DifferenceEntropy"): Code("NTRS", "Difference Entropy of GLCM", True),
    ("glcm", "DifferenceVariance"): Code("D3YU", "Difference Variance of GLCM", True),
    ("glcm", "Id"): Code("IB1Z", "Inverse Difference of GLCM", True),
    ("glcm", "Idm"): Code("WF0Z", "Inverse Difference Moment of GLCM", True),
    ("glcm", "Idmn"): Code("1QCO", "Normalized Inverse Difference Moment of GLCM", True),
    ("glcm", "Idn"): Code("NDRX", "Normalized Inverse Difference of GLCM", True),
    ("glcm", "Imc1"): Code("R8DG", "First Measure of Information Correlation of GLCM", True),
    ("glcm", "Imc2"): Code("JN9H", "Second Measure of Information Correlation of GLCM", True),
    ("glcm", "InverseVariance"): Code("E8JP", "Inverse Variance of GLCM", True),
    ("glcm", "JointAverage"): Code("60VM", "Joint Average of GLCM", True),
    ("glcm", "JointEnergy"): Code("8ZQL", "Angular Second Moment of GLCM", True),
    ("glcm", "JointEntropy"): Code("TU9B", "Joint Entropy of GLCM", True),
    ("glcm", "MaximumProbability"): Code("GYBY", "Joint Maximum of GLCM", True),
    ("glcm", "SumAverage"): Code("ZGXS", "Sum Average of GLCM", True),
    ("glcm", "SumEntropy"): Code("P6QZ", "Sum Entropy of GLCM", True),
    ("glcm", "SumSquares"): Code("UR99", "Joint Variance of GLCM", True),
    ("glrlm", "GrayLevelNonUniformity"): Code("R5YN", "Gray Level Nonuniformity in Runs", True),
    ("glrlm", "GrayLevelNonUniformityNormalized"): Code(
        "OVBL", "Normalized Gray Level Nonuniformity in Runs", True
    ),
    ("glrlm", "GrayLevelVariance"): Code("8CE5", "Gray Level Variance in Runs", True),
    ("glrlm", "HighGrayLevelRunEmphasis"): Code("G3QZ", "High Gray Level Run Emphasis", True),
    ("glrlm", "LongRunEmphasis"): Code("W4KF", "Long Runs Emphasis", True),
    ("glrlm", "LongRunHighGrayLevelEmphasis"): Code("3KUM", "Long Run High Gray Level Emphasis", True),
    ("glrlm", "LongRunLowGrayLevelEmphasis"): Code("IVPO", "Long Run Low Gray Level Emphasis", True),
    ("glrlm", "LowGrayLevelRunEmphasis"): Code("V3SW", "Low Gray Level Run Emphasis", True),
    ("glrlm", "RunEntropy"): Code("HJ9O", "Run Entropy", True),
    ("glrlm", "RunLengthNonUniformity"): Code("W92Y", "Run Length Nonuniformity", True),
    ("glrlm", "RunLengthNonUniformityNormalized"): Code("IC23", "Normalized Run Length Nonuniformity", True),
    ("glrlm", "RunPercentage"): Code("9ZK5", "Run Percentage", True),
    ("glrlm", "RunVariance"): Code("SXLW", "Run Length Variance", True),
    ("glrlm", "ShortRunEmphasis"): Code("22OV", "Short Runs Emphasis", True),
    ("glrlm", "ShortRunHighGrayLevelEmphasis"): Code("GD3A", "Short Run High Gray Level Emphasis", True),
    ("glrlm", "ShortRunLowGrayLevelEmphasis"): Code("HTZT", "Short Run Low Gray Level Emphasis", True),
    ("glszm", "GrayLevelNonUniformity"): Code("JNSA", "Gray Level Nonuniformity of Size Zone Counts", True),
    ("glszm", "GrayLevelNonUniformityNormalized"): Code(
        "Y1RO", "Normalized Gray Level Nonuniformity of Size Zone Counts", True
    ),
    ("glszm", "GrayLevelVariance"): Code("BYLV", "Gray Level Variance in Size Zones", True),
    ("glszm", "HighGrayLevelZoneEmphasis"): Code("5GN9", "High Gray Level Zone Emphasis", True),
    ("glszm", "LargeAreaEmphasis"): Code("48P8", "Large Zone Emphasis", True),
    ("glszm", "LargeAreaHighGrayLevelEmphasis"): Code("J17V", "Large Zone High Gray Level Emphasis", True),
    ("glszm", "LargeAreaLowGrayLevelEmphasis"): Code("YH51", "Large Zone Low Gray Level Emphasis", True),
    ("glszm", "LowGrayLevelZoneEmphasis"): Code("XMSY", "Low Gray Level Zone Emphasis", True),
    ("glszm", "SizeZoneNonUniformity"): Code("4JP3", "Zone Size Nonuniformity", True),
    ("glszm", "SizeZoneNonUniformityNormalized"): Code("VB3A", "Normalized Zone Size Nonuniformity", True),
    ("glszm", "SmallAreaEmphasis"): Code("5QRC", "Small Zone Emphasis", True),
    ("glszm", "SmallAreaHighGrayLevelEmphasis"): Code("HW1V", "Small Zone High Gray Level Emphasis", True),
    ("glszm", "SmallAreaLowGrayLevelEmphasis"): Code("5RAI", "Small Zone Low Gray Level Emphasis", True),
    ("glszm", "ZoneEntropy"): Code("GU8N", "Zone Size Entropy", True),
    ("glszm", "ZonePercentage"): Code("P30P", "Size Zone Percentage", True),
    ("glszm", "ZoneVariance"): Code("3NSA", "Zone Size Variance", True),
    ("gldm", "DependenceEntropy"): Code("FCBV", "Dependence count entropy", True),
    ("gldm", "DependenceNonUniformity"): Code("Z87G", "Dependence count non-uniformity", True),
    ("gldm", "DependenceNonUniformityNormalized"): Code(
        "OKJI", "Dependence count non-uniformity normalized", True
    ),
    ("gldm", "DependenceVariance"): Code("DNX2", "Dependence count variance", True),
    ("gldm", "GrayLevelNonUniformity"): Code("FP8K", "Grey level non-uniformity of NGLDM", True),
    ("gldm", "GrayLevelVariance"): Code("1PFV", "Grey level variance of NGLDM", True),
    ("gldm", "HighGrayLevelEmphasis"): Code("OAE7", "High grey level count emphasis", True),
    ("gldm", "LargeDependenceEmphasis"): Code("IMOQ", "High dependence emphasis", True),
    ("gldm", "LargeDependenceHighGrayLevelEmphasis"): Code(
        "9QMG", "High dependence high grey level emphasis", True
    ),
    ("gldm", "LargeDependenceLowGrayLevelEmphasis"): Code(
        "NBZI", "High dependence low grey level emphasis", True
    ),
    ("gldm", "LowGrayLevelEmphasis"): Code("TL9H", "Low grey level count emphasis", True),
    ("gldm", "SmallDependenceEmphasis"): Code("SODN", "Low dependence emphasis", True),
    ("gldm", "SmallDependenceHighGrayLevelEmphasis"): Code(
        "JA6D", "Low dependence high grey level emphasis", True
    ),
    ("gldm", "SmallDependenceLowGrayLevelEmphasis"): Code(
        "EQ3F", "Low dependence low grey level emphasis", True
    ),
    ("ngtdm", "Busyness"): Code("NQ30", "Busyness of NGTDM", True),
    ("ngtdm", "Coarseness"): Code("QCDE", "Coarseness of NGTDM", True),
    ("ngtdm", "Complexity"): Code("HDEZ", "Complexity of NGTDM", True),
    ("ngtdm", "Contrast"): Code("65HE", "Contrast of NGTDM", True),
    ("ngtdm", "Strength"): Code("1X9X", "Strength of NGTDM", True),
}
"""By (class, feature). Absent: what IBSI does not define (TotalEnergy, MCC, 2-D diameters). Notes:

- gldm with `gldm_a` 0 is IBSI's neighbouring grey level dependence matrix (NGLDM);
- firstorder Entropy and Uniformity are IBSI's *intensity histogram* features: they depend on the discretisation;
- glcm SumSquares is IBSI's joint variance, JointEnergy its angular second moment;
- firstorder Kurtosis, shape MinorAxisLength and LeastAxisLength differ from IBSI by definition (see `conformance.py`).
"""


def code(kind: Class, feature: str) -> Code | None:
    """The IBSI code of a feature, or None when IBSI does not define it."""
    return CODES.get((kind, feature))
