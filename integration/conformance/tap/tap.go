// Package tap writes test results in the Test Anything Protocol, version 13.
//
// It stands in for github.com/mndrix/tap-go, which Debian does not have: what runtime-tools asks
// of that package, and no more. See https://testanything.org/tap-version-13-specification.html.
package tap

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// T writes one stream of results, numbered from 1 on.
type T struct {
	// Writer takes the lines; standard output when nil.
	Writer io.Writer

	counter *counter
	todo    bool
}

// counter is shared by a T and what its Todo returned.
type counter struct{ written int }

// New returns a stream to standard output.
func New() *T { return &T{counter: &counter{}} }

func (t *T) printf(format string, arguments ...interface{}) {
	var out io.Writer = os.Stdout
	if t.Writer != nil {
		out = t.Writer
	}
	fmt.Fprintf(out, format, arguments...)
}

// Header writes the version, and the plan when the number of tests is known (not 0).
func (t *T) Header(tests int) {
	t.printf("TAP version 13\n")
	if tests > 0 {
		t.printf("1..%d\n", tests)
	}
}

// AutoPlan writes the plan at the end: as many tests as there were.
func (t *T) AutoPlan() { t.printf("1..%d\n", t.counter.written) }

// Ok writes one result.
func (t *T) Ok(passed bool, description string) {
	t.counter.written++
	result := "ok"
	if !passed {
		result = "not ok"
	}
	if t.todo {
		description = "# TODO " + description
	}
	t.printf("%s %d - %s\n", result, t.counter.written, strings.ReplaceAll(description, "\n", " "))
}

// Pass writes a test that passed.
func (t *T) Pass(description string) { t.Ok(true, description) }

// Fail writes a test that failed.
func (t *T) Fail(description string) { t.Ok(false, description) }

// Skip writes so many tests that were not made.
func (t *T) Skip(tests int, description string) {
	for ; tests > 0; tests-- {
		t.counter.written++
		t.printf("ok %d # SKIP %s\n", t.counter.written, strings.ReplaceAll(description, "\n", " "))
	}
}

// Todo returns the same stream, for tests that are known to fail.
func (t *T) Todo() *T { return &T{Writer: t.Writer, counter: t.counter, todo: true} }

// Diagnostic writes a remark.
func (t *T) Diagnostic(message string) {
	t.printf("# %s\n", strings.ReplaceAll(strings.TrimRight(message, "\n"), "\n", "\n# "))
}

// Diagnosticf writes a formatted remark.
func (t *T) Diagnosticf(format string, arguments ...interface{}) {
	t.Diagnostic(fmt.Sprintf(format, arguments...))
}

// YAML writes what belongs to the last result; JSON is YAML, too.
func (t *T) YAML(value interface{}) error {
	text, err := json.MarshalIndent(value, "  ", "  ")
	if err != nil {
		return err
	}
	t.printf("  ---\n  %s\n  ...\n", text)
	return nil
}
