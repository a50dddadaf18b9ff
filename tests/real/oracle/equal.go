// Command equal answers what kubeadm would: does it take two manifests for the same Pod?
// It prints "equal" or "different" for the two files named, by the function that kubeadm's upgrade decides with.
package main

import (
	"fmt"
	"os"

	"k8s.io/kubernetes/cmd/kubeadm/app/util/staticpod"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: equal MANIFEST MANIFEST")
		os.Exit(2)
	}
	equal, _, err := staticpod.ManifestFilesAreEqual(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(map[bool]string{true: "equal", false: "different"}[equal])
}
