# What run and keystore know of the peers: how each is installed into the folder
# $work, and how its programs are called. Sourced from this folder.

# venv FOLDER PACKAGE... makes a virtual environment of exactly these packages.
venv() {
	local folder=$1
	shift
	if [ "$(cat "$folder/packages" 2>/dev/null)" != "$*" ]; then
		rm -rf "$folder"
		python3 -m venv "$folder"
		"$folder/bin/pip" install --quiet --disable-pip-version-check "$@"
		echo "$*" >"$folder/packages"
	fi
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
round_javascript() {
	# Node.js refuses to decrypt PKCS #1 v1.5 since a padding oracle was found;
	# some versions can be told to do it.
	local option=--security-revert=CVE-2023-46809
	node $option -e '' 2>/dev/null || option=
	NODE_PATH=$work/javascript/node_modules node $option peers/javascript/peer.js "$@"
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

install_rust() {
	(cd peers/rust && CARGO_TARGET_DIR=$work/rust/target cargo build --quiet)
	sed -n '/^name = "aws-esdk"$/{n;s/version = "\(.*\)"/\1/p;}' peers/rust/Cargo.lock >"$work/rust/version"
}
round_rust() { "$work/rust/target/debug/peer" "$@"; }
