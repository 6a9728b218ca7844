# What run and keystore know of the peers: how each is installed into the folder
# $work, and how its programs are called. Sourced from this folder.

# venv FOLDER PACKAGE... makes a virtual environment of exactly these packages,
# with the Python that PYTHON names.
venv() {
	local folder=$1
	shift
	if [ "$(cat "$folder/packages" 2>/dev/null)" != "$*" ]; then
		rm -rf "$folder"
		"${PYTHON:-python3}" -m venv "$folder"
		"$folder/bin/pip" install --quiet --disable-pip-version-check "$@"
		echo "$*" >"$folder/packages"
	fi
}

# python_of VERSION... prints the first of these Pythons that the machine has.
python_of() {
	local version python
	for version; do
		for python in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
			if "$python" -c 'import ensurepip' 2>/dev/null; then
				echo "$python"
				return
			fi
		done
	done
	echo "no Python $*" >&2
	return 1
}

# What old stands for in run: old versions of some SDKs, for raw keys.
old=(python-1.2.2 python-1.4.1 python-1.7.1 python-2.4.0 python-3.3.0
	java-1.3.1 java-1.6.1 java-1.7.0 java-2.4.1
	javascript-1.9.0 javascript-2.4.0 javascript-3.2.2 javascript-4.2.0)

# install PEER and round PEER CASES RESULTS do so. A peer of an old version has the
# name SDK-VERSION.
install() {
	case $1 in
	*-*) "install_old_${1%%-*}" "$1" "${1#*-}" ;;
	*) "install_$1" ;;
	esac
}
round() {
	case $1 in
	*-*) "round_old_${1%%-*}" "$@" ;;
	*) "round_$1" "${@:2}" ;;
	esac
}

# Each peer has install_NAME, which also writes the file version, and
# round_NAME CASES RESULTS. Those with branch key stores have stores_NAME, which
# reads operations and writes what came of them.

install_python() {
	venv "$work/python/venv" 'aws-encryption-sdk[MPL]==4.0.4'
	"$work/python/venv/bin/pip" list --disable-pip-version-check --format=freeze 2>/dev/null |
		sed -n 's/^aws-encryption-sdk==//p; s/^aws-cryptographic-material-providers==/MPL /p' | sort | paste -sd, | sed 's/,/, /' >"$work/python/version"
}
round_python() { "$work/python/venv/bin/python" peers/python/peer.py "$@"; }
stores_python() { "$work/python/venv/bin/python" peers/python/keystore.py; }

install_javascript() {
	cp peers/javascript/package.json "$work/javascript/"
	(cd "$work/javascript" && npm install --silent --no-fund --no-audit)
	version=$(node -p 'require(process.argv[1]).version' "$work/javascript/node_modules/@aws-crypto/client-node/package.json")
	echo "$version, Node.js $(node --version)" >"$work/javascript/version"
}
round_javascript() { javascript javascript "$@"; }
# javascript FOLDER CASES RESULTS runs the program over the modules in the folder.
javascript() {
	# Node.js refuses to decrypt PKCS #1 v1.5 since a padding oracle was found;
	# some versions can be told to do it.
	local option=--security-revert=CVE-2023-46809
	node $option -e '' 2>/dev/null || option=
	NODE_PATH=$work/$1/node_modules node $option peers/javascript/peer.js "${@:2}"
}

install_java() {
	mvn --quiet --batch-mode --file peers/java/pom.xml dependency:copy-dependencies -DoutputDirectory="$work/java/jars"
	javac -cp "$work/java/jars/*" -d "$work/java/classes" peers/java/*.java
	find "$work/java/jars" -name 'aws-encryption-sdk-java-*' -o -name 'aws-cryptographic-material-providers-*' |
		sed 's/.*java-//; s/.*providers-/MPL /; s/\.jar$//' | sort | paste -sd, | sed 's/,/, /' >"$work/java/version"
}
round_java() { java -cp "$work/java/classes:$work/java/jars/*" Peer "$@"; }
stores_java() { java -cp "$work/java/classes:$work/java/jars/*" Stores 2>/dev/null; }

install_official() {
	(cd peers/official && go build -o "$work/official/peer" . && go build -o "$work/official/keystore" ./keystore &&
		go list -m -f '{{.Version}}' github.com/aws/aws-encryption-sdk/releases/go/encryption-sdk) >"$work/official/version"
}
round_official() { "$work/official/peer" "$@"; }
stores_official() { "$work/official/keystore"; }

install_cli() {
	venv "$work/cli/venv" 'aws-encryption-sdk-cli==4.3.0'
	"$work/cli/venv/bin/pip" list --disable-pip-version-check --format=freeze 2>/dev/null |
		sed -n 's/^aws-encryption-sdk-cli==//p; s/^aws-encryption-sdk==/SDK /p' | sort | paste -sd, | sed 's/,/, /' >"$work/cli/version"
}
round_cli() { PYTHONPATH=peers/cli "$work/cli/venv/bin/python" peers/cli/peer.py "$@"; }

# The oldest SDKs do not import with the newest cryptography and attrs, and these do
# not install on the newest Pythons.
install_old_python() {
	local packages=("aws-encryption-sdk==$2") pythons=(3.11 3.12 3.10 3.9 3.8)
	case $2 in
	1.*) packages+=(cryptography==3.4.8 'attrs<19') pythons=(3.8 3.9 3.7) ;;
	2.*) packages+=(cryptography==3.4.8) pythons=(3.8 3.9 3.7) ;;
	esac
	local PYTHON # which venv uses
	PYTHON=$(python_of "${pythons[@]}")
	venv "$work/$1/venv" "${packages[@]}"
	echo "on $("$work/$1/venv/bin/python" --version), cryptography $("$work/$1/venv/bin/python" -c 'import cryptography; print(cryptography.__version__)' 2>/dev/null)" >"$work/$1/version"
}
round_old_python() { PYTHONPATH=peers/cli "$work/$1/venv/bin/python" -W ignore peers/old/peer.py "${@:2}"; }

install_old_java() {
	mvn --quiet --batch-mode --file peers/old/pom.xml "-Dsdk=$2" dependency:copy-dependencies -DoutputDirectory="$work/$1/jars"
	javac -cp "$work/$1/jars/*" -d "$work/$1/classes" peers/old/Peer.java
	echo "on $(javac -version | sed 's/javac/JDK/')" >"$work/$1/version"
}
round_old_java() { java -cp "$work/$1/classes:$work/$1/jars/*" Peer "${@:2}"; }

install_old_javascript() {
	echo "{\"private\": true, \"dependencies\": {\"@aws-crypto/client-node\": \"$2\"}}" >"$work/$1/package.json"
	(cd "$work/$1" && npm install --silent --no-fund --no-audit)
	local keyring # the newest that this version of client-node goes with
	keyring=$(node -p 'require(process.argv[1]).version' "$work/$1/node_modules/@aws-crypto/raw-aes-keyring-node/package.json")
	echo "with raw-aes-keyring-node $keyring on Node.js $(node --version)" >"$work/$1/version"
}
round_old_javascript() { javascript "$@"; }

install_rust() {
	(cd peers/rust && CARGO_TARGET_DIR=$work/rust/target cargo build --quiet)
	sed -n '/^name = "aws-esdk"$/{n;s/version = "\(.*\)"/\1/p;}' peers/rust/Cargo.lock >"$work/rust/version"
}
round_rust() { "$work/rust/target/debug/peer" "$@"; }
