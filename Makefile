# `make demo` and `make test` are all a newcomer needs; both install what they need into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Worker processes of pytest, whose networks use one thread then. One more than CI has cores: tests of services wait a lot.
WORKERS ?= 3
SHARED ?= ../shared

.PHONY: demo test test-fast coverage check soak bench bench-long gpu figures docs sbom evidence package format clean install

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,bench,dev]'
	touch $(VENV)/.lean $@

# What the main job needs: no PyTorch, no nnunetv2, no scikit-learn.
$(VENV)/.lean: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[cpu,study]'
	touch $@

# What the tests of the appliance, the terminal and the documents need: no PyTorch either.
$(VENV)/.light: pyproject.toml constraints.txt
	test -e $(VENV)/.installed || $(PYTHON) -m venv $(VENV)
	test -e $(VENV)/.installed || $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[cpu,tui,dev]'
	touch $@

demo: $(VENV)/.lean
	$(BIN)/scanside demo demo-out

# Compiled tests and modules are kept: the suite starts hundreds of processes, and three workers read every test.
test test-fast coverage soak evidence: export PYTHONDONTWRITEBYTECODE :=

test: install
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder -m 'not slow and not gpu'

# For whoever changed a sentence or a screen: the tests that need no PyTorch.
test-fast: $(VENV)/.light
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --light -m 'not slow and not gpu'

# Which lines the tests run, their processes included; takes half as long again as `test`.
coverage: install
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder -m 'not slow and not gpu' \
		--cov --cov-report=json:dist/coverage.json
	$(BIN)/python docs/measure_coverage.py dist/coverage.json results/coverage.json

soak: install
	$(BIN)/python -m pytest -m slow

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/licences.py
	$(BIN)/python .ci/evidence.py

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Writes the figures of the results files into README.md and docs/.
figures: install
	$(BIN)/python docs/render_figures.py

# The documentation as a site, in site/; a link to nowhere is an error.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# Everything that an appliance's installation brings (CycloneDX 1.6), and the licences of every extra, against the list of
# allowed ones.
sbom: install
	$(BIN)/python .ci/licences.py
	$(PYTHON) -m venv $(VENV)/sbom
	$(VENV)/sbom/bin/python -m pip install --quiet --constraint constraints.txt '.[cpu,appliance]'
	mkdir -p dist && $(BIN)/cyclonedx-py environment $(VENV)/sbom --sv 1.6 --of JSON -o dist/appliance.cdx.json
	rm -rf $(VENV)/sbom

# Requirements, risks and threats as pages (docs/evidence), and what the tests of each requirement say at this commit.
evidence: sbom
	-$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope -m 'requirement and not slow and not gpu' --junitxml dist/junit.xml
	$(BIN)/python .ci/evidence.py --results dist/junit.xml dist/appliance.cdx.json

# Source and wheel, checked; the wheel installed as a stranger would install it, asked to prove its bundle, and its
# contents listed (SBOM, CycloneDX 1.6).
package: install
	rm -rf dist $(VENV)/package && $(BIN)/python -m build --outdir dist . > /dev/null
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents --ignore W002 dist/*.whl
	$(PYTHON) -m venv $(VENV)/package
	$(VENV)/package/bin/python -m pip install --quiet --constraint constraints.txt "$$(ls $(CURDIR)/dist/*.whl)[cpu,study]"
	cd $(VENV)/package && bin/scanside selftest lib/python3.*/site-packages/scanside/training/data/pancreas-phantom.bundle
	$(BIN)/cyclonedx-py environment $(VENV)/package --sv 1.6 --of JSON -o dist/scanside.cdx.json
	rm -rf $(VENV)/package

# The figures of README.md: want an idle machine and the shared test data.
RESULTS := results/benchmarks
HIPPOCAMPUS := $(SHARED)/models/hippocampus/nnUNetTrainer__nnUNetPlans__3d_fullres
MRIS := $(SHARED)/data/volumes/msd_hippocampus
PANCREAS ?= training/scanside/training/data/pancreas-phantom.bundle

ABDOMEN := $(SHARED)/data/dicom/abdomen_scan_002_t2
PELVIS := $(SHARED)/data/dicom/prostatex_0000/4.000000-t2tsetra-00702
PEERS := $(BIN)/scanside bench peers
SCRIPTS := $(BIN)/python benchmarks/scripts
# $(call written,NAME): where a benchmark writes its results and its table.
written = -o $(RESULTS)/$(1).json --table $(RESULTS)/$(1).md --overwrite

# Models whose int8 networks take their scales from images that are not measured.
$(VENV)/hippocampus.bundle: $(VENV)/.installed
	$(BIN)/scanside export nnunet $(HIPPOCAMPUS) -o $@ --precision fp32,int8 --postprocessing none --overwrite \
		$(foreach n,367 368 370 372 373 374 380 381 383 385 386 387 389 390 393 394,\
			--calibrate $(MRIS)/imagesTr/hippocampus_$(n)_0000.nii.gz)

$(VENV)/abdomen.bundle: $(VENV)/.installed
	rm -rf $(VENV)/abdomen-31m && $(BIN)/scanside bench make-model $(VENV)/abdomen-31m --kind abdomen-31m
	$(BIN)/scanside bench make-bundle $(VENV)/abdomen-31m -o $@ --calibrate $(PELVIS) --overwrite

# 60 of the 200 crops, in one folder.
$(VENV)/sixty:
	mkdir $@ && ls $(abspath $(MRIS))/imagesTr/*_0000.nii.gz | head -60 | xargs -I{} ln -s {} $@/

# About 45 minutes on two idle cores, the most wanted figures first; each line stands for itself.
bench: install $(VENV)/hippocampus.bundle $(VENV)/abdomen.bundle $(VENV)/sixty
	$(PEERS) $(VENV)/abdomen-31m $(ABDOMEN) --bundle $(VENV)/abdomen.bundle --repeats 2 --no-warm \
		--backends openvino:fp32,openvino:bf16,openvino:int8 $(call written,peers-abdomen)
	$(PEERS) $(HIPPOCAMPUS) $(MRIS)/imagesTr/hippocampus_006_0000.nii.gz --bundle $(VENV)/hippocampus.bundle \
		--repeats 7 --backends openvino:fp32,openvino:bf16,openvino:int8,cpu:fp32,onnx-loop $(call written,peers-hippocampus)
	$(PEERS) $(VENV)/abdomen-31m $(PELVIS) --bundle $(VENV)/abdomen.bundle --mirroring --repeats 2 --no-warm \
		--backends openvino:fp32,openvino:bf16,openvino:int8 $(call written,peers-pelvis-mirroring)
	$(PEERS) $(HIPPOCAMPUS) $(VENV)/sixty --bundle $(VENV)/hippocampus.bundle --mirroring --together --no-cold \
		--no-warm --repeats 2 --backends openvino:fp32,openvino:int8,onnx-loop $(call written,peers-sixty)
	$(BIN)/scanside bench run $(PANCREAS) --most 12 --offline 8 $(call written,run)
	$(SCRIPTS)/radiomics_speed.py $(PANCREAS) $(RESULTS)/radiomics.json --overwrite
	$(SCRIPTS)/peak.py $(VENV)/abdomen.bundle $(RESULTS)/peak.json --overwrite \
		--backends openvino:fp32,openvino:bf16,openvino:int8,cpu:fp32 --repeats 5
	$(BIN)/scanside bench appliance $(PANCREAS) --repeats 6 $(call written,appliance)
	$(BIN)/scanside bench report $(RESULTS)/run.json $(RESULTS)/appliance.json -o $(RESULTS)/report --overwrite

# One machine with an NVIDIA GPU, about ten minutes: the tests that need one, golden cases, and the product beside nnunetv2
# with AMP. An environment of its own: onnxruntime-gpu takes the place of onnxruntime, which `export` brings.
GPU := .venv-gpu
CARD := $(GPU)/bin/scanside bench gpu

$(GPU)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(GPU)
	$(GPU)/bin/python -m pip install --quiet --editable '.[train,bench,dev,gpu,nvml]'
	$(GPU)/bin/python -m pip uninstall --quiet --yes onnxruntime onnxruntime-gpu
	$(GPU)/bin/python -m pip install --quiet --no-deps onnxruntime-gpu
	touch $@

$(GPU)/hippocampus.bundle: $(GPU)/.installed
	$(GPU)/bin/scanside export nnunet $(HIPPOCAMPUS) -o $@ --precision fp32,mixed --postprocessing none --overwrite

$(GPU)/abdomen.bundle: $(GPU)/.installed
	rm -rf $(GPU)/abdomen-31m && $(GPU)/bin/scanside bench make-model $(GPU)/abdomen-31m --kind abdomen-31m
	$(GPU)/bin/scanside bench make-bundle $(GPU)/abdomen-31m -o $@ --mixed --overwrite

gpu: $(GPU)/hippocampus.bundle $(GPU)/abdomen.bundle
	$(GPU)/bin/scanside doctor
	$(GPU)/bin/python -m pytest -m gpu
	$(CARD) $(HIPPOCAMPUS) $(MRIS)/imagesTr/hippocampus_006_0000.nii.gz --bundle $(GPU)/hippocampus.bundle \
		$(call written,gpu-hippocampus)
	-$(CARD) $(GPU)/abdomen-31m $(ABDOMEN) --bundle $(GPU)/abdomen.bundle $(call written,gpu-abdomen)
	-$(CARD) $(GPU)/abdomen-31m $(ABDOMEN) --bundle $(GPU)/abdomen.bundle --no-mirroring \
		$(call written,gpu-abdomen-no-mirroring)
	-$(GPU)/bin/python benchmarks/scripts/gpu_networks.py $(GPU)/abdomen-31m $(GPU)/abdomen.bundle \
		$(RESULTS)/gpu-networks.json --overwrite

# What takes hours: memory of 512 × 512 × 400 with 30 classes (nnunetv2 is ended where it needs more than is free), the
# cost of size, mirroring, warm runs of the large network, all 200 MRIs, fresh installations.
bench-long: install $(VENV)/hippocampus.bundle $(VENV)/abdomen.bundle
	rm -rf $(VENV)/classes-30 && $(BIN)/scanside bench make-model $(VENV)/classes-30 --kind classes-30
	$(BIN)/scanside bench make-image $(VENV)/made_0000.nii.gz --overwrite
	$(PEERS) $(VENV)/classes-30 $(VENV)/made_0000.nii.gz --repeats 1 --no-warm --backends openvino:fp32 \
		$(call written,peers-classes-30)
	$(BIN)/scanside bench scale --large $(call written,scale)
	$(BIN)/scanside bench report $(RESULTS)/run.json $(RESULTS)/appliance.json $(RESULTS)/scale.json \
		-o $(RESULTS)/report --overwrite
	$(PEERS) $(HIPPOCAMPUS) $(MRIS)/imagesTr/hippocampus_006_0000.nii.gz --bundle $(VENV)/hippocampus.bundle \
		--mirroring --repeats 7 --backends openvino:fp32,onnx-loop $(call written,peers-hippocampus-mirroring)
	$(PEERS) $(VENV)/abdomen-31m $(ABDOMEN) --bundle $(VENV)/abdomen.bundle --repeats 3 \
		--backends openvino:fp32,openvino:bf16,openvino:int8,cpu:fp32,onnx-loop $(call written,peers-abdomen-long)
	$(PEERS) $(VENV)/abdomen-31m $(ABDOMEN) --bundle $(VENV)/abdomen.bundle --mirroring --repeats 1 --no-warm \
		--backends openvino:fp32,openvino:bf16 $(call written,peers-abdomen-mirroring)
	$(BIN)/scanside bench parity $(HIPPOCAMPUS) $(MRIS)/imagesTr --labels $(MRIS)/labelsTr $(call written,parity-hippocampus)
	$(SCRIPTS)/install.py $(RESULTS)/install.json --overwrite

clean:
	rm -rf $(VENV) demo-out site dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
