PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= demo
BENCH ?= bench

.PHONY: demo test bench clean

# Compiled afterwards, by all cores, for pip does it with one; some packages have files that are no Python.
$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "galvae needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable .
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true
	touch $@

$(VENV)/tested: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

# The main job, end to end, on the built-in synthetic survey; then the same survey with a model that cannot turn.
demo: $(VENV)/installed
	$(BIN)/galvae run demo -o $(DEMO)
	$(BIN)/galvae train $(DEMO)/store -o $(DEMO)/fixed-pose --recipe demo-fixed-pose --overwrite --quiet
	$(BIN)/galvae verify $(DEMO)/run $(DEMO)/store --truth $(DEMO)/survey/truth.ecsv --against $(DEMO)/fixed-pose \
		--limit 50 -o $(DEMO)/verify --overwrite
	$(BIN)/galvae sample $(DEMO)/run -o $(DEMO)/figures/samples.png --overwrite
	@echo "catalog:  $(DEMO)/catalog.ecsv"
	@echo "pictures: $(DEMO)/figures/ and $(DEMO)/verify/verify.html"

test: $(VENV)/tested
	$(BIN)/ruff check .
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist worksteal

# Figures of speed and quality on this machine; IMAGES: a zip of JPEG cutouts, ORIGINAL: a checkout of the original;
# PEERS: the interpreter of an environment with pyroVED and AtomAI (benchmarks/peers.py).
bench: $(VENV)/tested
	$(BIN)/python benchmarks/bench.py -o benchmarks/results --run $(BENCH) --readme README.md \
		$(if $(IMAGES),--images $(IMAGES)) $(if $(ORIGINAL),--original $(ORIGINAL)) $(if $(PEERS),--peers $(PEERS))

clean:
	rm -rf $(VENV) $(DEMO) $(BENCH)
