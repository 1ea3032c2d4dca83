// What the quick starts expect of the answers.
package prebuilds

import (
	"os"
	"testing"
	"time"

	gitpodv1 "example.com/prebuilds/gen/gitpod/v1"
)

// A server that ignores the token would show page 1 for ever.
const maxPages = 100

func env(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: start this with ./run", name)
	}
	return value
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, want, got T) {
	t.Helper()
	if want != got {
		t.Fatalf("want %v, got %v", want, got)
	}
}

func notEmpty(t *testing.T, text string) {
	t.Helper()
	if text == "" {
		t.Fatal("empty")
	}
}

// eventually asks again until the answer is yes.
func eventually(t *testing.T, what string, question func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if question() {
			return
		}
	}
	t.Fatalf("not within 30 s: %s", what)
}

func identifiers(prebuilds []*gitpodv1.Prebuild) []string {
	var ids []string
	for _, prebuild := range prebuilds {
		ids = append(ids, prebuild.Id)
	}
	return ids
}

// listedOnce holds pages of one item each to show each of the created exactly once.
func listedOnce(t *testing.T, pages [][]string, created []string) {
	t.Helper()
	if len(pages) < 3 {
		t.Fatalf("want at least three pages, got %v", pages)
	}
	times := map[string]int{}
	for _, page := range pages {
		if len(page) > 1 {
			t.Fatalf("want one on a page, got %v", page)
		}
		for _, id := range page {
			times[id]++
		}
	}
	for _, id := range created {
		if times[id] != 1 {
			t.Fatalf("%s is listed %d times in %v", id, times[id], pages)
		}
	}
}
