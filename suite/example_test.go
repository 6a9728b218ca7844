package suite_test

import (
	"fmt"
	"log"

	"github.com/esdk-go/esdk/suite"
)

func ExampleParse() {
	for _, s := range []string{"ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY", "aes_256_gcm_hkdf_sha512_commit_key", "0478", "0x0478"} {
		id, err := suite.Parse(s)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(id == suite.AES256GCMHKDFSHA512CommitKey)
	}
	_, err := suite.Parse("AES256")
	fmt.Println(err)
	// Output:
	// true
	// true
	// true
	// true
	// suite: no algorithm suite is called "AES256"
}

func ExampleAll() {
	for _, id := range suite.All() {
		fmt.Printf("%04x version %d, %d-bit key, commits %-5v signs %v\n",
			uint16(id), id.MessageVersion(), 8*id.KeySize(), id.Committing(), id.Signing())
	}
	// Output:
	// 0014 version 1, 128-bit key, commits false signs false
	// 0046 version 1, 192-bit key, commits false signs false
	// 0078 version 1, 256-bit key, commits false signs false
	// 0114 version 1, 128-bit key, commits false signs false
	// 0146 version 1, 192-bit key, commits false signs false
	// 0178 version 1, 256-bit key, commits false signs false
	// 0214 version 1, 128-bit key, commits false signs true
	// 0346 version 1, 192-bit key, commits false signs true
	// 0378 version 1, 256-bit key, commits false signs true
	// 0478 version 2, 256-bit key, commits true  signs false
	// 0578 version 2, 256-bit key, commits true  signs true
}

func ExampleCommitmentPolicy() {
	for _, p := range []suite.CommitmentPolicy{suite.RequireEncryptRequireDecrypt, suite.RequireEncryptAllowDecrypt, suite.ForbidEncryptAllowDecrypt} {
		fmt.Printf("%v: writes %04x by default, reads 0378: %v\n", p, uint16(p.Default()), p.AllowsDecrypt(suite.AES256GCMHKDFSHA384ECDSAP384))
	}
	// Output:
	// REQUIRE_ENCRYPT_REQUIRE_DECRYPT: writes 0578 by default, reads 0378: false
	// REQUIRE_ENCRYPT_ALLOW_DECRYPT: writes 0578 by default, reads 0378: true
	// FORBID_ENCRYPT_ALLOW_DECRYPT: writes 0378 by default, reads 0378: true
}
