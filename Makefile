# `make demo` and `make test` are all a newcomer needs; both install what they need into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Worker processes of pytest; the networks of each use one thread then.
WORKERS ?= 2
SHARED ?= ../shared

.PHONY: demo test check soak bench bench-large format clean install

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,bench,dev]'
	touch $(VENV)/.lean $@

# What a workstation at the scanner has: no PyTorch, no nnunetv2, no scikit-learn.
$(VENV)/.lean: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[cpu]'
	touch $@

demo: $(VENV)/.lean
	$(BIN)/scanside demo demo-out

test: install
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder -m 'not slow and not gpu'

soak: install
	$(BIN)/python -m pytest -m slow

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The figures of README.md: wants an idle machine, the shared test data, and about two hours.
RESULTS := benchmarks/results
HIPPOCAMPUS := $(SHARED)/models/hippocampus/nnUNetTrainer__nnUNetPlans__3d_fullres
MRIS := $(SHARED)/data/volumes/msd_hippocampus
PANCREAS ?= training/scanside/training/data/pancreas-phantom.bundle

bench: install
	rm -rf $(VENV)/abdomen-31m && $(BIN)/scanside bench make-model $(VENV)/abdomen-31m --kind abdomen-31m
	$(BIN)/scanside bench peers $(HIPPOCAMPUS) $(MRIS)/imagesTr/hippocampus_006_0000.nii.gz --folds 0 --repeats 7 \
		-o $(RESULTS)/peers-hippocampus.json --table $(RESULTS)/peers-hippocampus.md --overwrite
	$(BIN)/scanside bench peers $(VENV)/abdomen-31m $(SHARED)/data/dicom/abdomen_scan_002_t2 --repeats 3 \
		-o $(RESULTS)/peers-abdomen.json --table $(RESULTS)/peers-abdomen.md --overwrite
	$(BIN)/scanside bench parity $(HIPPOCAMPUS) $(MRIS)/imagesTr --labels $(MRIS)/labelsTr \
		-o $(RESULTS)/parity-hippocampus.json --table $(RESULTS)/parity-hippocampus.md --overwrite
	$(BIN)/scanside bench run $(PANCREAS) -o $(RESULTS)/run.json --table $(RESULTS)/run.md --overwrite
	$(BIN)/scanside bench appliance $(PANCREAS) \
		-o $(RESULTS)/appliance.json --table $(RESULTS)/appliance.md --overwrite
	$(BIN)/scanside bench scale --large -o $(RESULTS)/scale.json --table $(RESULTS)/scale.md --overwrite
	$(BIN)/scanside bench report $(RESULTS)/run.json $(RESULTS)/appliance.json $(RESULTS)/scale.json \
		-o $(RESULTS)/report --overwrite
	$(BIN)/scanside bench install -o $(RESULTS)/install.json --table $(RESULTS)/install.md --overwrite

# Memory of 512 × 512 × 400 with 30 classes, nnunetv2 and scanside. Wants a machine with 32 GB or more.
bench-large: install
	rm -rf $(VENV)/classes-30 && $(BIN)/scanside bench make-model $(VENV)/classes-30 --kind classes-30
	$(BIN)/scanside bench make-image $(VENV)/made_0000.nii.gz --overwrite
	$(BIN)/scanside bench peers $(VENV)/classes-30 $(VENV)/made_0000.nii.gz --repeats 1 --no-warm \
		-o $(RESULTS)/peers-classes-30.json --table $(RESULTS)/peers-classes-30.md --overwrite

clean:
	rm -rf $(VENV) demo-out dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
