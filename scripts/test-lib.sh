# For scripts/test: runs one test program after the other under a time limit, reads
# what it says, and counts. scripts/bench and scripts/demo build by it, too.

logs=$checkout/build/test-logs
passed=0
failed=0
skipped=0
failures=()
running=
lanes=()

begin_tests()
{
	work=$(make_work norikv-test.XXXXXX)
	mkdir -p "$logs"
	trap clean_up EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
}

# Nothing that was started here outlives this script, whichever way it ends.
clean_up()
{
	local pid
	trap '' INT TERM HUP
	for pid in $running "${lanes[@]}"; do
		kill -TERM "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true
	done
	stop_postgres_under "$work"
	rm -rf "$work"
}

# Is a kind of test, or one test ("kind/name"), to run?
wants()
{
	local want
	[ ${#wanted[@]} -gt 0 ] || return 0
	for want in "${wanted[@]}"; do
		case $want in
		"$1" | "${1%%/*}") return 0 ;;
		"$1"/*) return 0 ;;
		esac
	done
	return 1
}

# How long a program may run, in seconds: a test that hangs must not hold up the others.
program_limit=600
statement_limit=2min
if [ "${NORIKV_STRESS:-}" = 1 ]; then
	program_limit=3600
	statement_limit=20min
fi

# Runs a command for at most $2 seconds, its output into the log of $1. In the
# background, so that a signal to this script is acted upon at once.
run_logged()
{
	local log=$logs/${1//\//-}.log limit=$2 status=0
	shift 2
	env --default-signal=INT,QUIT timeout -k 10 "$limit" "$@" >"$log" 2>&1 </dev/null &
	running=$!
	# The shell would report a death by a signal, and so do we.
	{ wait "$running" || status=$?; } 2>/dev/null
	running=
	return "$status"
}

as_postgres_logged()
{
	local become
	set_become
	run_logged "$1" "$2" "${become[@]}" "${@:3}"
}

# Runs functions beside each other, each in a shell of its own, and adds up what they
# counted. One that dies on the way is a failure.
in_lanes()
{
	local lane number=0
	for lane in "$@"; do
		(
			lanes=() passed=0 failed=0 skipped=0 failures=()
			trap end_running EXIT
			trap 'exit 143' INT TERM HUP
			"$lane"
			{
				echo "$passed $failed $skipped"
				printf '%s\n' "${failures[@]}"
			} >"$work/$lane.counts"
		) &
		lanes+=($!)
	done
	for lane in "$@"; do
		wait "${lanes[number]}" || true
		number=$((number + 1))
		add_counts "$lane"
	done
	lanes=()
}

end_running()
{
	[ -z "$running" ] || { kill -TERM "$running" 2>/dev/null && wait "$running" 2>/dev/null; } || true
}

add_counts()
{
	local good bad skips failure
	if [ ! -e "$work/$1.counts" ]; then
		failed=$((failed + 1))
		failures+=("$1: ended before its end")
		return
	fi
	{
		read -r good bad skips
		while IFS= read -r failure; do
			[ -z "$failure" ] || failures+=("$failure")
		done
	} <"$work/$1.counts"
	passed=$((passed + good))
	failed=$((failed + bad))
	skipped=$((skipped + skips))
}

# report NAME PASSED FAILED SKIPPED SECONDS [WHY]
report()
{
	local verdict=ok
	passed=$((passed + $2))
	failed=$((failed + $3))
	skipped=$((skipped + $4))
	if [ "$3" -gt 0 ]; then
		verdict=FAILED
		failures+=("$1${6:+: $6}")
	fi
	printf '%-6s %-44s %4d tests %5d s%s\n' "$verdict" "$1" "$(($2 + $3))" "$5" \
		"$([ "$4" -eq 0 ] || echo ", $4 skipped")"
	if [ "$3" -gt 0 ]; then
		# Verdicts of what went well, and compiler calls, tell nothing here.
		grep -vE '^(ok [0-9]|(g?cc|clang[-0-9]*|ar|rm) )' "$logs/${1//\//-}.log" |
			tail -n 60 | cut -c 1-300 | sed 's/^/    | /' || true
	fi
}

# How a program ended, in words; nothing where it ended well.
ended()
{
	case $1 in
	0) ;;
	124 | 137) echo 'did not end in its time' ;;
	*) echo "ended with status $1" ;;
	esac
}

# Counts the lines of a log in the Test Anything Protocol. A program that died,
# or tested nothing, is a failure whatever it printed.
count_tap()
{
	local name=$1 status=$2 seconds=$3 log=$logs/${1//\//-}.log
	local good bad skips why
	skips=$(grep -caiE '^(not )?ok [0-9]+.*# skip|^1\.\.0 # skip' "$log" || true)
	good=$(grep -aE '^ok [0-9]+' "$log" | grep -cviE '# (skip|todo)' || true)
	bad=$(grep -aE '^not ok [0-9]+' "$log" | grep -cviE '# (skip|todo)' || true)
	why=$(grep -aE '^not ok [0-9]+' "$log" | grep -viE '# (skip|todo)' |
		sed 's/^not ok [0-9]* - //' | head -n 5 | paste -sd ';' || true)
	if [ "$status" -ne 0 ] && { [ "$bad" -eq 0 ] || [ "$status" -ge 124 ]; }; then
		bad=$((bad + 1))
		why="${why:+$why; }$(ended "$status")"
	elif [ $((good + bad + skips)) -eq 0 ]; then
		bad=1
		why='tested nothing'
	fi
	report "$name" "$good" "$bad" "$skips" "$seconds" "$why"
}

build()
{
	local name=build/$1 start=$SECONDS
	shift
	if ! run_logged "$name" 1800 "$@" WERROR=1 "-j$jobs"; then
		report "$name" 0 1 0 $((SECONDS - start)) 'does not build'
		return 1
	fi
	printf '%-6s %-44s %10s %5d s\n' built "${name#build/}" '' $((SECONDS - start))
}

# The cmocka programs of the client or the server.
programs()
{
	local kind=$1 variant=$2 source name start status
	for source in tests/"$kind"/test_*.c; do
		[ -e "$source" ] || continue
		name=$kind/$(basename "$source" .c)
		if [ "$variant" = release ]; then
			wants "$name" || continue
		else
			wants "asan/$(basename "$name")" || continue
		fi
		start=$SECONDS status=0
		run_logged "$name-$variant" "$program_limit" env CMOCKA_MESSAGE_OUTPUT=TAP \
			NORIKV_BUILD="$checkout/build/$variant" TMPDIR="$work" \
			"build/$variant/${source%.c}" || status=$?
		count_tap "$name-$variant" "$status" $((SECONDS - start))
	done
}

fuzzers()
{
	local source name start status
	for source in tests/fuzz/fuzz_*.c; do
		[ -e "$source" ] || continue
		name=$(basename "$source" .c)
		wants "fuzz/$name" || continue
		start=$SECONDS status=0
		mkdir -p "$work/corpus/$name"
		[ ! -d "tests/fuzz/corpus/$name" ] ||
			cp -r "tests/fuzz/corpus/$name/." "$work/corpus/$name"
		run_logged "fuzz/$name" "$program_limit" "build/fuzz/${source%.c}" -rss_limit_mb=2048 \
			-timeout=10 -max_total_time="${FUZZ_SECONDS:-5}" \
			-artifact_prefix="$logs/$name-" "$work/corpus/$name" || status=$?
		if [ "$status" -eq 0 ]; then
			report "fuzz/$name" 1 0 0 $((SECONDS - start))
		else
			report "fuzz/$name" 0 1 0 $((SECONDS - start)) "$(ended "$status")"
		fi
	done
}

# A defect whose patch no longer fits is one that nobody notices: see scripts/mutants.
mutants_apply()
{
	local patch start=$SECONDS misfits= log=$logs/mutants-apply.log
	: >"$log"
	for patch in tests/mutants/*.patch; do
		patch -p1 --dry-run --force --silent <"$patch" >>"$log" 2>&1 ||
			misfits+=" $(basename "$patch" .patch)"
	done
	if [ -z "$misfits" ]; then
		report mutants/apply 1 0 0 $((SECONDS - start))
	else
		report mutants/apply 0 1 0 $((SECONDS - start)) "do not apply:$misfits"
	fi
}

# ---- What needs PostgreSQL ----

# A PostgreSQL of its own, and a copy of what the tests read, where its user can
# reach them.
private_postgres()
{
	local bindir
	pg_user=$(postgres_user)
	bindir=$(scripts/private-postgres "$work/pg" 2>"$logs/private-postgres.log") || {
		cat "$logs/private-postgres.log" >&2
		die 'no private PostgreSQL could be made'
	}
	pg_bin=$bindir
	pgxs_test=$(dirname "$("$bindir/pg_config" --pgxs)")/../test
	mkdir -p "$work/tools"
	cp -r tests docs examples README.md "$work/"
	find "build/release/tests/tools" -maxdepth 2 -type f -perm -100 \
		-exec cp {} "$work/tools/" \; 2>/dev/null || true
	[ "$(id -u)" -ne 0 ] || chown -R "$pg_user": "$work/tests" "$work/tools" "$work/docs" "$work/examples"
}

# A directory for one run of pg_regress or of its sibling.
regress_directory()
{
	local dir=$work/$1
	mkdir -p "$dir"
	cp -r "${@:2}" "$dir/"
	cat >"$dir/postgresql.conf" <<-CONF
		shared_preload_libraries = 'norikv'
		max_connections = 50
		statement_timeout = '$statement_limit'
	CONF
	[ "$(id -u)" -ne 0 ] || chown -R "$pg_user": "$dir"
}

# run_regress KIND PROGRAM DATABASE TEST...
run_regress()
{
	local kind=$1 program=$2 database=$3 start=$SECONDS status=0 log=$logs/$1-all.log
	local good bad why
	shift 3
	[ $# -gt 0 ] || return 0
	as_postgres_logged "$kind-all" "$program_limit" "$pgxs_test/$program" --bindir="$pg_bin" \
		--temp-instance="$work/$kind/instance" --temp-config="$work/$kind/postgresql.conf" \
		--inputdir="$work/$kind" --outputdir="$work/$kind" --dbname="$database" \
		--encoding=UTF8 --no-locale "$@" || status=$?
	# PostgreSQL 16 and later speak the Test Anything Protocol here.
	good=$(grep -caE '^ok [0-9]+|\.\.\. ok( |$)' "$log" || true)
	bad=$(grep -caE '^not ok [0-9]+|\.\.\. FAILED' "$log" || true)
	why=$(grep -aE '^not ok [0-9]+|\.\.\. FAILED' "$log" | awk '{print ($1 == "not") ? $5 : $2}' |
		paste -sd ' ' || true)
	if [ "$status" -ne 0 ]; then
		cat "$work/$kind/regression.diffs" "$work/$kind/log/postmaster.log" >>"$log" 2>/dev/null || true
		[ "$bad" -gt 0 ] || { bad=1 why=$(ended "$status"); }
	fi
	report "$kind-all" "$good" "$bad" 0 $((SECONDS - start)) "$why"
}

# The names of a list in mk/pgxs.mk that are wanted, else of all that match.
named()
{
	local kind=$1 name
	for name in $(make -s -f mk/pgxs.mk "print-$2"); do
		wants "$kind/$name" && echo "$name"
	done
}

regress()
{
	local -a names
	wants regress || return 0
	mapfile -t names < <(named regress REGRESS)
	regress_directory regress sql expected
	run_regress regress regress/pg_regress contrib_regression "${names[@]}"
}

isolation()
{
	local -a names
	wants isolation || return 0
	mapfile -t names < <(named isolation ISOLATION)
	[ ${#names[@]} -gt 0 ] || return 0
	regress_directory isolation tests/isolation/specs tests/isolation/expected
	run_regress isolation isolation/pg_isolation_regress isolation_regression "${names[@]}"
}

# The servers' logs, and the test's own words, which tell more than its verdicts.
keep_tap_logs()
{
	local kept=$logs/$1
	rm -rf "$kept"
	mkdir -p "$kept"
	find "$2" -path '*/log/*' -type f -exec cp {} "$kept/" \;
	grep -av '^ok ' "$kept"/regress_log_* 2>/dev/null | tail -n 20 >>"$kept.log" || true
}

# Every TAP file of a directory below tests.
tap_files()
{
	local kind=$1 file name start status dir
	for file in tests/"$kind"/*.pl; do
		[ -e "$file" ] || continue
		name=$(basename "$file" .pl)
		wants "$kind/$name" || continue
		start=$SECONDS status=0 dir=$work/tap/$name
		mkdir -p "$dir/log"
		[ "$(id -u)" -ne 0 ] || chown -R "$pg_user": "$work/tap"
		as_postgres_logged "$kind/$name" "$program_limit" env -C "$dir" PATH="$pg_bin:$PATH" \
			TESTDIR="$dir" TESTDATADIR="$dir" TESTLOGDIR="$dir/log" TMPDIR="$work/tap" \
			PG_REGRESS="$pgxs_test/regress/pg_regress" PGPORT=65432 \
			NORIKV_TOOLS="$work/tools" NORIKV_DOCS="$work" \
			perl -I "$pgxs_test/perl" -I "$work/tests/tap" "$work/$file" || status=$?
		if [ "$status" -ne 0 ]; then
			keep_tap_logs "$kind-$name" "$dir"
			# One that was ended for its time leaves its servers.
			stop_postgres_under "$dir"
		fi
		count_tap "$kind/$name" "$status" $((SECONDS - start))
		rm -rf "$dir"
	done
}

end_tests()
{
	local failure
	if [ ${#failures[@]} -gt 0 ]; then
		echo
		echo "logs are in build/test-logs; failed:"
		for failure in "${failures[@]}"; do
			echo "    $failure"
		done
	fi
	[ "$skipped" -eq 0 ] || echo "$skipped skipped"
	if [ $((passed + failed)) -eq 0 ]; then
		failed=1
		echo 'nothing was tested'
	fi
	echo "$passed passed, $failed failed"
	[ "$failed" -eq 0 ]
}
