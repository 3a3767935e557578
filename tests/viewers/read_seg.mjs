// How OHIF reads a Segmentation: cornerstone3D's adapter on the source images; prints what it makes of it as JSON.
// node read_seg.mjs SEGMENTATION IMAGE...
import fs from "node:fs";
import dcmjs from "dcmjs";
import { adaptersSEG } from "@cornerstonejs/adapters";
import { metaData } from "@cornerstonejs/core";

const { DicomMessage, DicomMetaDictionary } = dcmjs.data;

function read(path) {
  const bytes = fs.readFileSync(path);
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  const file = DicomMessage.readFile(buffer);
  const dataset = DicomMetaDictionary.naturalizeDataset(file.dict);
  dataset._meta = DicomMetaDictionary.namifyDataset(file.meta);
  return { buffer, dataset };
}

const [segmentation, ...paths] = process.argv.slice(2);
const images = new Map(paths.map((path) => [`image:${path}`, read(path).dataset]));

const metadataProvider = {
  get(kind, imageId) {
    const one = images.get(imageId);
    if (!one) return undefined;
    const plane = {
      imageOrientationPatient: one.ImageOrientationPatient.map(Number),
      imagePositionPatient: one.ImagePositionPatient.map(Number),
      rowCosines: one.ImageOrientationPatient.slice(0, 3).map(Number),
      columnCosines: one.ImageOrientationPatient.slice(3).map(Number),
      rows: one.Rows,
      columns: one.Columns,
      rowPixelSpacing: Number(one.PixelSpacing[0]),
      columnPixelSpacing: Number(one.PixelSpacing[1]),
      pixelSpacing: one.PixelSpacing.map(Number),
      frameOfReferenceUID: one.FrameOfReferenceUID,
    };
    return {
      instance: one,
      imagePlaneModule: plane,
      generalImageModule: { sopInstanceUID: one.SOPInstanceUID, instanceNumber: Number(one.InstanceNumber) },
      sopCommonModule: { sopInstanceUID: one.SOPInstanceUID, sopClassUID: one.SOPClassUID },
      generalSeriesModule: { seriesInstanceUID: one.SeriesInstanceUID, studyInstanceUID: one.StudyInstanceUID },
      frameModule: { sopInstanceUID: one.SOPInstanceUID, sopClassUID: one.SOPClassUID, frameNumber: 1 },
    }[kind];
  },
};

metaData.addProvider((kind, imageId) => metadataProvider.get(kind, imageId), 100);
const { buffer } = read(segmentation);
const reader = adaptersSEG.Cornerstone3D.Segmentation;
const made = await reader.createFromDICOMSegBuffer([...images.keys()], buffer, { metadataProvider, tolerance: 1e-3 });
const segments = made.segMetadata.data.filter(Boolean).map((one) => ({
  number: Number(one.SegmentNumber),
  label: one.SegmentLabel,
  colour: dcmjs.data.Colors.dicomlab2RGB(one.RecommendedDisplayCIELabValue.map(Number)).map((x) => Math.round(x * 255)),
}));
const layers = made.labelMapImages.map((images) =>
  images.map((image) => {
    const pixels = image.voxelManager ? image.voxelManager.getScalarData() : image.getPixelData();
    return [...pixels];
  }),
);
const ids = [...images.keys()].map((id) => images.get(id).SOPInstanceUID);
const voxels = layers.flatMap((layer) => layer.map((pixels) => pixels));
console.log(JSON.stringify({ segments, images: ids, layers: layers.length, voxels }));
