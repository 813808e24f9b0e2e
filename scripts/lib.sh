# For the scripts beside it to source: the checkout, the user that runs
# PostgreSQL, work directories and what must not outlive a script.

set -euo pipefail
umask 022
export LC_ALL=C.UTF-8
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PG_CONFIG=${PG_CONFIG:-pg_config}
jobs=$(nproc 2>/dev/null || echo 2)

die()
{
	echo "$(basename "$0"): $*" >&2
	exit 1
}

# PostgreSQL refuses to run as root, so root hands it to somebody else.
postgres_user()
{
	local name
	if [ "$(id -u)" -ne 0 ]; then
		id -un
		return
	fi
	for name in ${NORIKV_USER:-} postgres nobody; do
		if id -u "$name" >/dev/null 2>&1; then
			echo "$name"
			return
		fi
	done
	die 'root cannot run PostgreSQL, and there is neither a user "postgres" nor "nobody"'
}

# Sets become to what makes a command that user's, in the work directory. setpriv
# turns into the command: signals sent to its pid reach it.
set_become()
{
	local user
	become=(env -C "${work:?}" HOME="$work" TMPDIR="$work")
	if [ "$(id -u)" -eq 0 ]; then
		user=$(postgres_user)
		become=(setpriv "--reuid=$user" "--regid=$(id -g "$user")" --init-groups -- "${become[@]}")
	fi
}

as_postgres()
{
	local become
	set_become
	"${become[@]}" "$@"
}

# A directory that the user of PostgreSQL can reach and write, however closed
# the checkout is, and with a path short enough for sockets below it. $1 is the
# template of its name.
make_work()
{
	local base dir
	for base in "${TMPDIR:-/var/tmp}" /var/tmp /tmp; do
		[ ${#base} -le 40 ] || continue
		dir=$(mktemp -d "$base/$1" 2>/dev/null) || continue
		[ "$(id -u)" -ne 0 ] || chown "$(postgres_user)": "$dir"
		if work=$dir as_postgres test -w "$dir" 2>/dev/null; then
			echo "$dir"
			return
		fi
		rmdir "$dir"
	done
	die "no directory that $(postgres_user) can write: set TMPDIR to one"
}

# Waits until a process is gone; false if it is still there after $2 seconds.
wait_gone()
{
	local tries=$(($2 * 20))
	while kill -0 "$1" 2>/dev/null; do
		((tries-- > 0)) || return 1
		sleep 0.05
	done
}

# Stops every PostgreSQL whose data directory lies under a directory, by the pid
# in its lock file, where that process really runs on that data directory.
stop_postgres_under()
{
	local file pid datadir
	while IFS= read -r file; do
		{ read -r pid && read -r datadir; } <"$file" || continue
		[ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$(readlink -f "$datadir")" ] || continue
		kill -INT "$pid" 2>/dev/null || continue
		wait_gone "$pid" 10 && continue
		kill -QUIT "$pid" 2>/dev/null || continue
		wait_gone "$pid" 10 || kill -KILL "$pid" 2>/dev/null || true
	done < <(find "$1" -name postmaster.pid 2>/dev/null)
}
