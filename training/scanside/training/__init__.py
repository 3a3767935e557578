"""From a cohort to a trained model: phantom, nnU-Net training, radiomics signature, classifier. Nothing here yet."""
