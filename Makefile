# Quarkline: everything it can do. `make help` lists it; README.md tells it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
PY := .venv/bin/python
READY := .venv/.ready

# What the targets take: make simulate TASK=lass CORPUS=... OUT=... COUNT=... SEED=... CONFIG=run.json ARGS="--task.snr-db -5 5"
TASK ?=
CORPUS ?=
OUT ?=
COUNT ?=
HOURS ?=
KEY ?=
ROOT ?=
PRESET ?=
DATA ?=
MODEL ?=
CODEC ?=
LM ?=
HELD_OUT ?=
INPUT ?=
REFERENCE ?=
BENCH ?= simulate
TEXT ?=
export TEXT  # read by the shell: an instruction may hold quotes
STEPS ?=
MINUTES ?=
FORMAT ?=
SEED ?=
CONFIG ?=
ARGS ?=
# Threads that spin while they wait made a training step 11 x slower where other programs use the cores too.
export OMP_WAIT_POLICY ?= PASSIVE
option = $(if $($(1)),--$(2) '$($(1))')
# On a cluster whose dashboard RAY_ADDRESS names (http://...), the same command runs as a submitted Ray job.
job = $(if $(filter http%,$(RAY_ADDRESS)),.venv/bin/ray job submit --address $(RAY_ADDRESS) --working-dir . -- python,$(PY))

.PHONY: help setup simulate verify replay plan listen corpus prepare align starter train-codec codec-report encode train-lm bundle infer doctor \
  evaluate smoke test test-packages lint bench s3-install s3-server s3-stop lock clean

help:  ## List the targets
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14
	@echo; echo 'Variables: TASK CORPUS OUT COUNT SEED CONFIG ARGS (further options: make simulate TASK=lass ARGS=--help)'

setup: $(READY)  ## Make the virtual environment with the pinned dependencies (done by every target)
$(READY): requirements.lock
	test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --upgrade 'pip>=24'
	$(PY) -m pip install --quiet --progress-bar off -r requirements.lock
	touch $@

simulate: $(READY)  ## Simulate a task's data into shards and verify them: TASK=sr|tse|rtse|ss|lass|vc|speech_edit|event_edit|tta|aec|all
	@$(job) -m $(if $(filter all,$(TASK)),pipelines.mixture,pipelines.simulate $(if $(CONFIG),--config '$(CONFIG)') $(TASK)) $(call option,CORPUS,corpus) \
	  $(call option,OUT,out) $(call option,COUNT,count) $(call option,SEED,seed) $(ARGS)

verify: $(READY)  ## Check datasets from their shards alone: OUT=data/lass-0123456789ab
	@$(job) -m pipelines.verify $(call option,OUT,out) $(call option,CORPUS,corpus) $(ARGS)

replay: $(READY)  ## Render one example again and write it to listen to: KEY=lass-s0-00000007 OUT=data
	@$(PY) -m pipelines.replay $(call option,KEY,key) $(call option,OUT,out) $(call option,CORPUS,corpus) $(ARGS)

plan: $(READY)  ## Measure a few examples, print core-hours, GB, shards and cost: TASK=sr HOURS=1000
	@$(PY) -m pipelines.plan $(TASK) $(call option,HOURS,hours) $(call option,CORPUS,run.corpus) $(ARGS)

corpus: $(READY)  ## Build and check a corpus manifest: ROOT=folder FORMAT=librispeech OUT=data/corpora/name
	@$(PY) -m pipelines.corpus build $(call option,ROOT,root) $(call option,FORMAT,format) $(call option,OUT,out) $(ARGS)

align: $(READY)  ## Find the word times that speech editing needs: CORPUS=... OUT=...
	@$(PY) -m pipelines.align $(call option,CORPUS,corpus) $(call option,OUT,out) $(ARGS)

starter: $(READY)  ## Make the synthetic starter corpus that is used when none is named
	@$(PY) -m pipelines.starter $(call option,OUT,out) $(call option,SEED,seed) $(ARGS)

train-codec: $(READY)  ## Train a codec from shards or a corpus, then report: PRESET=tiny|small|hcodec-1.0... CORPUS=... DATA=... MINUTES=20
	@$(job) -m pipelines.train_codec $(if $(CONFIG),--config '$(CONFIG)') $(PRESET) $(call option,CORPUS,corpus) $(call option,DATA,data) \
	  $(call option,OUT,out) $(call option,STEPS,steps) $(call option,MINUTES,minutes) $(call option,SEED,seed) $(ARGS)

codec-report: $(READY)  ## Judge a codec on held-out clips, with a page to listen to: MODEL=data/codec-.../model CORPUS=... OUT=...
	@$(PY) -m pipelines.codec_report $(call option,MODEL,model) $(call option,CORPUS,corpus) $(call option,OUT,out) $(ARGS)

encode: $(READY)  ## Turn task data into tokens: DATA=data/lass-... CODEC=data/codec-.../model OUT=...
	@$(job) -m pipelines.encode $(call option,DATA,data) $(call option,CODEC,codec) $(call option,OUT,out) $(ARGS)

train-lm: $(READY)  ## Train the language model on tokens: PRESET=tiny|small|base|1b DATA=data HELD_OUT=... CODEC=data/codec-.../model MINUTES=30
	@$(job) -m pipelines.train_lm $(if $(CONFIG),--config '$(CONFIG)') $(PRESET) $(call option,DATA,data) $(call option,HELD_OUT,held-out) \
	  $(call option,CODEC,codec) $(call option,OUT,out) $(call option,STEPS,steps) $(call option,MINUTES,minutes) $(call option,SEED,seed) $(ARGS)

bundle: $(READY)  ## Put a codec and a language model into one folder: CODEC=data/codec-.../model LM=data/lm-.../model OUT=data/bundle
	@$(PY) -m pipelines.bundle $(call option,CODEC,codec) $(call option,LM,lm) $(call option,OUT,out) $(ARGS)

infer: $(READY)  ## Use a bundle: TASK=sr INPUT=noisy.wav OUT=clean.wav MODEL=data/bundle [REFERENCE=voice.wav] [TEXT="a dog barking"]
	@$(PY) -m pipelines.infer $(TASK) $(call option,MODEL,model) $(call option,INPUT,input) $(call option,OUT,out) \
	  $(call option,REFERENCE,reference) $(if $(TEXT),--text "$$TEXT") $(call option,SEED,seed) $(ARGS)

evaluate: $(READY)  ## Judge models on held-out datasets: MODEL=data/bundle[,data/other] DATA=data/test OUT=data/evaluations ARGS="--split test"
	@$(job) -m pipelines.evaluate $(call option,MODEL,model) $(call option,DATA,data) $(call option,OUT,out) $(call option,COUNT,count) \
	  $(call option,SEED,seed) $(ARGS)

smoke: $(READY)  ## Run the whole chain at debug size, from simulation to evaluation: OUT=data/smoke
	@$(PY) -m pipelines.smoke $(call option,OUT,out) $(call option,CORPUS,corpus) $(ARGS)

doctor: $(READY)  ## Look whether this machine can train: compiler, locks, shared memory, accelerator, S3, Ray
	@$(PY) -m pipelines.doctor $(ARGS)

test: $(READY) test-packages  ## Run all tests
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pytest $(ARGS)

lint: $(READY)  ## Format and check the code
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

prepare: $(READY)  ## Resample a corpus once to the rate of the tasks: CORPUS=... OUT=...
	@$(PY) -m pipelines.prepare $(call option,CORPUS,corpus) $(call option,OUT,out) $(ARGS)

listen: $(READY)  ## Write a page to listen to datasets with: OUT=data
	@$(PY) -m pipelines.listen $(call option,OUT,out) $(call option,COUNT,count) $(ARGS)

bench: $(READY)  ## Measure speed: BENCH=simulate|codec|quantise|loader|lm; the dated results are in tests/bench/RESULTS.md
	$(PY) -m tests.bench.$(BENCH) $(call option,CORPUS,corpus) $(ARGS)

s3-install: $(READY)
	@$(PY) -m infra.s3_server install

# What tests run against for real: an S3 server and a browser. Where they cannot be installed, those tests say so and are skipped.
test-packages: $(READY)
	-@$(PY) -m infra.s3_server install
	-@command -v chromedriver >/dev/null || { apt-get -qq update && \
	  DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends chromium chromium-driver >/dev/null; }

s3-server: $(READY) s3-install  ## Start a real S3 server (Ceph RGW) on this machine and print its AWS_ variables
	@$(PY) -m infra.s3_server start

s3-stop: $(READY)  ## Stop it
	@$(PY) -m infra.s3_server stop

lock: $(READY)  ## Write requirements.lock from what is installed
	$(PY) -m pip freeze --exclude-editable 2>/dev/null | sed -E 's/^(torch==[0-9.]+)\+.*/\1/' > requirements.lock

clean:  ## Remove the environment and everything made under data/
	rm -rf .venv data
