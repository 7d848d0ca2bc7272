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
REGISTRY ?=
TO ?=
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
DESCRIPTION ?=
NODES ?=
# Threads that spin while they wait made a training step 11 x slower where other programs use the cores too.
export OMP_WAIT_POLICY ?= PASSIVE
option = $(if $($(1)),--$(2) '$($(1))')
# On a cluster whose dashboard RAY_ADDRESS names (http://...), the same command runs as a submitted Ray job.
job = $(if $(filter http%,$(RAY_ADDRESS)),.venv/bin/ray job submit --address $(RAY_ADDRESS) --working-dir . -- python,$(PY))

.PHONY: help setup simulate verify replay plan listen corpus prepare align starter train-codec codec-report encode train-lm bundle infer \
  evaluate import-testset smoke retrain rollback lineage doctor manifests cluster-local cluster-local-stop \
  test test-slow test-packages lint bench chaos s3-install s3-server s3-stop lock clean

help:  ## List the targets
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14
	@echo; echo 'Variables: TASK CORPUS OUT COUNT SEED CONFIG ARGS (further options: make simulate TASK=lass ARGS=--help)'

setup: $(READY)  ## Make the virtual environment with the pinned dependencies (done by every target)
# The hashes of the lock files leave pip no choice. torch is apart: a build for CPUs, or for CUDA where there is a GPU.
TORCH ?= $(if $(shell command -v nvidia-smi),cuda,cpu)
pip_install = $(PY) -m pip install --quiet --progress-bar off --no-deps --require-hashes
$(READY): requirements.lock requirements-cpu.lock requirements-cuda.lock
	test -x $(PY) || $(PYTHON) -m venv .venv
	$(pip_install) -r requirements.lock
	$(pip_install) -r requirements-$(TORCH).lock || $(pip_install) -r requirements-cuda.lock
	$(PY) -m pip check
	touch $@

simulate: $(READY)  ## Simulate a task's data into shards and verify them: TASK=sr|tse|rtse|ss|lass|vc|speech_edit|event_edit|tta|aec|all
	@$(job) -m $(if $(filter all,$(TASK)),pipelines.mixture,pipelines.simulate $(if $(CONFIG),--config '$(CONFIG)') $(TASK)) $(call option,CORPUS,corpus) \
	  $(call option,OUT,out) $(call option,COUNT,count) $(call option,SEED,seed) $(ARGS)

verify: $(READY)  ## Check datasets from their shards alone: OUT=data/lass-0123456789ab
	@$(job) -m pipelines.verify $(call option,OUT,out) $(call option,CORPUS,corpus) $(ARGS)

replay: $(READY)  ## Render one example again and write it to listen to: KEY=lass-s0-00000007 OUT=data
	@$(PY) -m pipelines.replay $(call option,KEY,key) $(call option,OUT,out) $(call option,CORPUS,corpus) $(ARGS)

plan: $(READY)  ## What a run will cost and wait for: TASK=sr HOURS=1000 (a few examples are measured) or PRESET=1b HOURS=100000
	@$(if $(PRESET),$(PY) -m pipelines.plan_lm --preset $(PRESET) $(call option,HOURS,hours) $(ARGS), \
	  $(PY) -m pipelines.plan $(TASK) $(call option,HOURS,hours) $(call option,CORPUS,run.corpus) $(ARGS))

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

retrain: $(READY)  ## Train on what is new since the champion, promote what is better: CONFIG=retrain.toml REGISTRY=s3://bucket/registry [ARGS=--dry-run]
	@$(job) -m pipelines.retrain $(if $(CONFIG),--config '$(CONFIG)') $(call option,REGISTRY,registry) $(call option,CODEC,codec) $(ARGS)

rollback: $(READY)  ## Make an earlier champion the champion again: REGISTRY=s3://bucket/registry [TO=id] [ARGS="--reason '...'"]
	@$(PY) -m pipelines.rollback $(call option,REGISTRY,registry) $(call option,TO,to) $(ARGS)

lineage: $(READY)  ## What a model was made of, down to clips and licences: MODEL=data/bundle, or MODEL=champion REGISTRY=... [OUT=clips.csv]
	@$(PY) -m pipelines.lineage $(call option,MODEL,model) $(call option,REGISTRY,registry) $(call option,OUT,out) $(ARGS)

import-testset: $(READY)  ## Make a published test set a dataset to judge on: FORMAT=vbd|dns2020|libri2mix|vctk-vc|... ROOT=folder OUT=data/testsets
	@$(PY) -m pipelines.import_testset $(call option,FORMAT,format) $(call option,ROOT,root) $(call option,OUT,out) $(ARGS)

evaluate: $(READY)  ## Judge models on held-out datasets: MODEL=data/bundle[,data/other] DATA=data/test OUT=data/evaluations ARGS="--split test"
	@$(job) -m pipelines.evaluate $(call option,MODEL,model) $(call option,DATA,data) $(call option,OUT,out) $(call option,COUNT,count) \
	  $(call option,SEED,seed) $(ARGS)

smoke: $(READY)  ## Run the whole chain at debug size, from simulation to evaluation: OUT=data/smoke
	@$(PY) -m pipelines.smoke $(call option,OUT,out) $(call option,CORPUS,corpus) $(ARGS)

doctor: $(READY)  ## Look whether this machine can train: compiler, locks, shared memory, accelerator, S3, Ray
	@$(PY) -m pipelines.doctor $(ARGS)

test: $(READY) test-packages  ## Run the tests, but those that take long: ARGS="tests/codec" for a part of them
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pytest -m "not slow" $(ARGS)

test-slow: $(READY) test-packages  ## Run those that take long: whole runs that are killed and rerun, several ranks and nodes
	$(PY) -m pytest -m slow $(ARGS)

lint: $(READY)  ## Format and check the code
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

prepare: $(READY)  ## Resample a corpus once to the rate of the tasks: CORPUS=... OUT=...
	@$(PY) -m pipelines.prepare $(call option,CORPUS,corpus) $(call option,OUT,out) $(ARGS)

listen: $(READY)  ## Write a page to listen to datasets with: OUT=data
	@$(PY) -m pipelines.listen $(call option,OUT,out) $(call option,COUNT,count) $(ARGS)

bench: $(READY)  ## Measure speed: BENCH=simulate|codec|quantise|loader|lm|overfit|seggan|bookkeeping; the dated results are in tests/bench/RESULTS.md
	$(PY) -m tests.bench.$(BENCH) $(call option,CORPUS,corpus) $(ARGS)

manifests: $(READY)  ## Render the files of a cluster (KubeRay, ray up, IAM, dashboards): DESCRIPTION=cluster.yaml OUT=data/manifests
	@$(PY) -m infra.deploy.manifests $(call option,DESCRIPTION,description) $(call option,OUT,out) $(ARGS)

cluster-local: $(READY)  ## Start a Ray cluster of several nodes on this machine, with its dashboard: NODES=3
	@$(PY) -m infra.local_cluster start $(call option,NODES,nodes) $(ARGS)

cluster-local-stop: $(READY)  ## Stop it
	@$(PY) -m infra.local_cluster stop $(ARGS)

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

chaos: $(READY)  ## Kill nodes, workers, servers and disks under real work and count what is lost: ARGS="--rounds 3"
	@$(PY) -m tests.chaos.campaign $(ARGS)

lock:  ## Write the lock files with hashes: what is installed in .venv, and torch for CPUs and for CUDA
	$(PY) -m infra.hashed_lock

clean:  ## Remove the environment and everything made under data/
	rm -rf .venv data
