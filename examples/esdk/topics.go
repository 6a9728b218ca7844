package main

// topics are what esdk help explains beside the commands.
func topics() []topic {
	return []topic{{"FILES", filesText}, {"KEYS", keysText}}
}

// commandDetails are what the help of a command says before its options.
func commandDetails() map[string]string {
	return map[string]string{
		"encrypt": `FILE becomes FILE.encrypted, beside it or in the folder of -o. Standard input goes to
standard output, unless -o names a file.

  esdk encrypt -k arn:aws:kms:eu-west-1:111122223333:key/... -c tenant=42 *.csv
  tar c data | esdk encrypt -k alias/backup > data.tar.encrypted
`,
		"decrypt": `FILE.encrypted becomes FILE, beside it or in the folder of -o; other names get
.decrypted. Standard input goes to standard output, unless -o names a file.

Files appear when their message is verified. Standard output gets each frame when its
tag is verified, before the end of the message is known: if the exit status is not 0,
discard what was written. -b holds everything back, in memory, until the end.

  esdk decrypt -k arn:aws:kms:eu-west-1:111122223333:key/... -c tenant=42 *.encrypted
  esdk decrypt -k "discovery=true discovery-partition=aws discovery-account=111122223333" -r -o restored backup
`,
		"verify": `Nothing is written but a line "FILE: ok" for each message that is whole and genuine,
and has the encryption context that -c demands.

  esdk verify -k "discovery=true discovery-partition=aws discovery-account=111122223333" -r backup

Genuine means: made by somebody who may use one of the keys. discovery=true alone takes
the keys of every account, also those of whoever made the message.
`,
		"inspect": `Nothing that it shows is authentic: anybody can write a header. A message with more
than 100 encrypted data keys is an error, unless --max-encrypted-data-keys allows it.

  esdk inspect report.pdf.encrypted
  esdk inspect --json -r backup | jq .header.algorithm
`,
		"reencrypt": `The plaintext and the encryption context stay, the keys and the data key are new. Each
message is verified to its end before the new one takes its place.

  esdk reencrypt --in-place --from OLD-ARN --to NEW-ARN -r backup
  esdk reencrypt -o new --from OLD-ARN --to NEW-ARN --to SECOND-ARN old/*
`,
		"keys": `create-table makes the table. create makes a branch key and prints its ID, a new UUID
if none is given. rotate makes a new version of a branch key, which encrypts from then
on; the earlier ones go on decrypting. list shows the active version of each branch key,
versions all of one. Columns: ID, version, state, time, KMS key, encryption context.

  esdk keys create-table --table BranchKeys
  esdk keys create --table BranchKeys --kms-key ARN --branch-key-context tenant=42 tenant-42
  esdk encrypt -k "provider=hierarchical table=BranchKeys branch-key=tenant-42 key=ARN" FILE
`,
		"completion": `  source <(esdk completion bash)
  esdk completion zsh > ~/.zfunc/_esdk
  esdk completion fish > ~/.config/fish/completions/esdk.fish
`,
		"help": `esdk help man | man -l - shows all of it.
`,
	}
}

const keysText = `A key is given as attributes of the form name=value. -k (--from, --to) takes all of them in
one argument, which is split as a shell would; -w takes each in an argument of its own.
Without provider= the key is one of AWS KMS, and -k KEY is short for -k key=KEY.

AWS KMS: credentials and Region come from where all AWS programs have them.

  esdk encrypt -k arn:aws:kms:eu-west-1:111122223333:key/... FILE
  esdk encrypt -k "key=ARN-IN-ONE-REGION key=ARN-IN-ANOTHER" FILE     any of them decrypts
  esdk encrypt -k "key=alias/backup region=eu-west-1 profile=admin" FILE
  esdk decrypt -k "key=ARN" FILE.encrypted                  key ARNs only, no aliases
  esdk decrypt -k "key=ARN key=ARN near=eu-west-1 hedge-after=300ms" FILE.encrypted
  esdk decrypt -k "discovery=true discovery-partition=aws discovery-account=111122223333" FILE.encrypted
  esdk decrypt -k discovery=true FILE.encrypted             any key of any account: whoever made the
                                                            message may have chosen it

  key=                  ARN, ID or alias; several
  region= profile=      where keys without a Region are; whose credentials
  multi-region=         false: replicas of a multi-Region key are different keys
  near=                 several; the Regions to ask first on decryption, nearest first
  hedge-after=          ask the next key beside one that takes longer, such as 300ms
  discovery=            true: decrypt with whatever key a message names
  discovery-account=    several; with discovery-partition=: of these accounts only
  discovery-region=     several; in these Regions only
  grant-token=          several
  timeout=              of each call, such as 5s; 10s if not given

provider=kms-rsa        an RSA key of KMS: whoever has the public key can encrypt
  key= public=FILE      its ARN; PEM, to encrypt. Needs --algorithm with a suite that does
                        not sign, such as AES_256_GCM_HKDF_SHA512_COMMIT_KEY
  algorithm=            oaep-sha256 (if not given) or oaep-sha1
provider=kms-ecdh       a key for key agreement in KMS
  key= recipient=FILE   its ARN; the recipient's public key in PEM. Without recipient= it
                        decrypts what anybody wrote for the key
provider=hierarchical   branch keys in a DynamoDB table (esdk help keys)
  table= branch-key=    the table's name; the ID of the branch key
  key=                  the ARN of the KMS key, or discovery=true
  logical-name=         of the table, if it is not its name
  max-age=              how long a branch key is used without asking again; 10m

Keys of your own are in a file (file=NAME), in an open file (fd=N) or in an environment
variable (env=NAME), never in an argument, which everybody on the machine can see.

provider=raw-aes        16, 24 or 32 bytes; raw, hexadecimal or Base64
  namespace= name=      stored in messages; the same ones decrypt
  encoding=             raw, hex or base64, if more than one of them fits
provider=raw-rsa        PEM; the public key is enough to encrypt
  namespace= name=
  padding=              oaep-sha256 (if not given), oaep-sha384, oaep-sha512, oaep-sha1, pkcs1
provider=raw-ecdh       PEM, on P-256, P-384 or P-521
  recipient=FILE        the recipient's public key. Given alone, the message can be anybody's;
                        given with a private key, only its owner's or the recipient's. A
                        private key alone decrypts what anybody wrote for it

  head -c 32 /dev/urandom > key.bin; chmod 600 key.bin
  esdk encrypt -k "provider=raw-aes namespace=app name=2026 file=key.bin" FILE
  esdk encrypt -k "provider=raw-aes namespace=app name=2026 fd=3" FILE 3< <(vault read ...)
  esdk encrypt -k "provider=raw-rsa namespace=app name=r file=public.pem" FILE
  esdk encrypt -k "provider=raw-ecdh recipient=public.pem" FILE

Several -k (or -w) encrypt under the keys of all of them, and any one decrypts. The first
makes the data key.
`

const filesText = `Output is written beside its place, as .esdk-*.tmp, which nobody else can read. It gets
its name when all of it is written and, if it is decrypted, verified to the end. What had
the name before is there until then, and stays if something fails. If the program is
killed, the temporary file stays, and the next run that writes there names it. The
output has the permissions and the time of the input, and the permissions of what it
replaces.

A file that exists is an error, unless --overwrite replaces it, --interactive asks, or
--no-overwrite leaves it alone. (With aws-encryption-cli's command line it is replaced.)
Two inputs never have one output, and no output is an input of the same run, by whatever
name. Links within folders are followed only with --follow-symlinks; a name that is
given is followed.

A file that fails stops no other. Each failure is named on standard error. If standard
output is closed (>&-), what is written to it is lost, and that is no failure.

Exit status: 0 if all went well, 1 if something failed, 2 if the command line is wrong,
130 if it was interrupted.
`

const modelText = `esdk -e | -d | --decrypt-unsigned -i INPUT -o OUTPUT -w NAME=VALUE... (-S | --metadata-output FILE) [OPTION...]

This is the command line of aws-encryption-cli 4.3: several values after one option, long
names that can be abbreviated, and arguments from files with @FILE. A link to esdk that is
called aws-encryption-cli takes it whatever comes first.

What differs: output appears only when it is verified, one bad file stops no other, and a
wrong encryption context is a failure. esdk help FILES has the rest.
`
