#!/usr/bin/env bash
# Every benchmark that wants a GPU, one after the other, with no network; the figures end in RESULTS.md.
#
#   bash benchmarks/on_gpu.sh [PART...]     parts: small filled medium large evaluate resume prepare
#   (default: all; "filled": small in batches of 16 minutes, which a corpus as large as the Italian one allows)
#
# PYTHON   the interpreter (default: .venv's, else python3); it needs what pyproject.toml names
# OUT      where figures and logs go, a file a part (default: build/gpu)
# LIMIT_S  the most seconds for a part (default: 540)
# CLIPS    how many clips a part has (default: its own number)
# A part that fails or takes too long leaves its log, and the others go on. DEVICE=cpu SIZE=nano tries the script
# without a GPU; its figures are shown and not kept.
set -uo pipefail
cd "$(dirname "$0")/.."
default=python3
[ -x .venv/bin/python ] && default=.venv/bin/python
PYTHON=${PYTHON:-$default} OUT=${OUT:-build/gpu} LIMIT_S=${LIMIT_S:-540} DEVICE=${DEVICE:-auto} SIZE=${SIZE:-}
export PYTHONPATH=. HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
mkdir -p "$OUT"
[ "$DEVICE" = cpu ] && export CUDA_VISIBLE_DEVICES=

"$PYTHON" benchmarks/gpu_results.py check "$DEVICE" || exit 1

part() { # NAME SCRIPT OPTION...
    local name=$1 status=0
    shift
    [ -n "$wanted" ] && [[ " $wanted " != *" $name "* ]] && return
    echo "== $name"
    timeout "$LIMIT_S" "$PYTHON" "benchmarks/$@" --json "$OUT/$name.json" >"$OUT/$name.log" 2>&1 || status=$?
    grep -aE '^(ours|recipe|encoder|profile:|killed|two in|fp32|tf32|bf16|\|)|clips/s| on ' "$OUT/$name.log"
    [ "$status" = 0 ] || { echo "$name ended with $status; the end of $OUT/$name.log:"; tail -n 15 "$OUT/$name.log"; }
}

wanted=$*
train="bench_train.py --device $DEVICE --profile"
part small $train --model-config "${SIZE:-small}" --steps 30 --clips "${CLIPS:-8000}"
part filled $train --model-config "${SIZE:-small}" --steps 16 --clips "${CLIPS:-4000}" --batch-s 960
part medium $train --model-config "${SIZE:-medium}" --steps 20 --clips "${CLIPS:-6000}"
part large $train --model-config "${SIZE:-large-v3}" --steps 12 --clips "${CLIPS:-4000}"
part evaluate bench_evaluate.py --model-config "${SIZE:-small}" --clips "${CLIPS:-1000}" --batch-s 960 --tuned
part resume bench_resume.py --model-config "${SIZE:-small}" --batch-s 240 --clips "${CLIPS:-400}"
part prepare bench_prepare.py --clips "${CLIPS:-300}"
"$PYTHON" benchmarks/gpu_results.py report "$OUT" "$DEVICE"
