package mpi

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// asRank, set in the environment, makes the test binary one rank of a test.
const asRank = "EISFT_TEST_RANK"

func TestMain(m *testing.M) {
	if os.Getenv(asRank) == "" {
		os.Exit(m.Run())
	}
	do := rank
	if os.Getenv(asRank) == "measure" {
		do = measure
	}
	if err := do(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// rank goes through all calls and checks what it gets.
func rank() error {
	if launched, err := Launched(); err != nil || !launched {
		return fmt.Errorf("launched: %v, %w", launched, err)
	}
	w, err := Start()
	if err != nil {
		return err
	}
	if (w.Rank() == 0) != First() {
		return fmt.Errorf("rank %d is first: %v", w.Rank(), First())
	}
	if err := w.ShareCores(); err != nil {
		return err
	}
	// Rank r tells r bytes, so that one of them is none.
	records, err := w.Gather([]byte(strings.Repeat(strconv.Itoa(w.Rank()), w.Rank())))
	if err != nil {
		return err
	}
	for r, got := range records {
		if want := strings.Repeat(strconv.Itoa(r), r); string(got) != want {
			return fmt.Errorf("rank %d told %q, want %q", r, got, want)
		}
	}
	// Rank r hands 1000·r+j values r.j to rank j: more than goes through at once, and for the
	// first nothing.
	send, receive := make([][]float32, w.Size()), make([][]float32, w.Size())
	for j := range w.Size() {
		send[j] = slices.Repeat([]float32{float32(w.Rank()) + float32(j)/8}, 100000*w.Rank()+j)
		receive[j] = make([]float32, 100000*j+w.Rank())
	}
	before := w.Sent()
	if err := w.Exchange(send, receive); err != nil {
		return err
	}
	sent := int64(0)
	for j := range w.Size() {
		if j != w.Rank() {
			sent += 4 * int64(len(send[j]))
		}
		for i, v := range receive[j] {
			if want := float32(j) + float32(w.Rank())/8; v != want {
				return fmt.Errorf("value %d from rank %d is %v, want %v", i, j, v, want)
			}
		}
	}
	if got := w.Sent() - before; got != sent {
		return fmt.Errorf("sent %d bytes, want %d", got, sent)
	}
	if w.Rank() == 0 {
		fmt.Println("rank 0 of", w.Size(), "is done")
	}
	return w.Close(false)
}

// mpirun starts this program as so many ranks and returns what they say.
func mpirun(t testing.TB, n int, what string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("mpirun")
	if err != nil {
		t.Skip("there is no mpirun here: scripts/setup.sh --mpi installs it")
	}
	if _, err := Version(); err != nil {
		t.Skip(err)
	}
	cmd := exec.CommandContext(t.Context(), path, "--allow-run-as-root", "--oversubscribe", "-n", strconv.Itoa(n), os.Args[0])
	cmd.Env = append(os.Environ(), asRank+"="+what)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestWorld starts two and four ranks.
func TestWorld(t *testing.T) {
	for _, n := range []int{2, 4} {
		if out, err := mpirun(t, n, "check"); err != nil || !strings.Contains(out, fmt.Sprintf("rank 0 of %d is done", n)) {
			t.Errorf("%d ranks: %v\n%s", n, err, out)
		}
	}
}

// exchanges is how many are measured, of exchanged values or of none.
const exchanges, exchanged = 200, 1 << 20

// measure says how many nanoseconds an exchange takes, of nothing and of values.
func measure() error {
	w, err := Start()
	if err != nil {
		return err
	}
	for _, values := range []int{0, exchanged} {
		send, receive := make([][]float32, w.Size()), make([][]float32, w.Size())
		for rank := range w.Size() {
			send[rank], receive[rank] = make([]float32, values/w.Size()), make([]float32, values/w.Size())
		}
		times := make([]time.Duration, exchanges)
		for i := range times {
			began := time.Now()
			if err := w.Exchange(send, receive); err != nil {
				return err
			}
			times[i] = time.Since(began)
		}
		if slices.Sort(times); w.Rank() == 0 {
			fmt.Println(times[exchanges/2].Nanoseconds())
		}
	}
	return w.Close(false)
}

// BenchmarkExchange: the median time of an exchange of nothing, which is latency, and of 4 MiB
// that each rank hands out.
func BenchmarkExchange(b *testing.B) {
	for _, n := range []int{2, 4} {
		b.Run(fmt.Sprintf("%d ranks", n), func(b *testing.B) {
			var empty, full float64
			for b.Loop() {
				out, err := mpirun(b, n, "measure")
				if _, scanErr := fmt.Sscan(out, &empty, &full); err != nil || scanErr != nil {
					b.Fatalf("%v, %v\n%s", err, scanErr, out)
				}
			}
			b.ReportMetric(empty/1e3, "µs/empty")
			b.ReportMetric(full/1e3, "µs/4MiB")
		})
	}
}

// TestLaunched: launchers are told by what they leave in the environment, and those of other
// MPIs are refused.
func TestLaunched(t *testing.T) {
	for _, tc := range []struct {
		env  map[string]string
		want bool
		err  string
	}{
		{nil, false, ""},
		{map[string]string{"OMPI_COMM_WORLD_SIZE": "4"}, true, ""},
		{map[string]string{"OMPI_COMM_WORLD_SIZE": "1"}, false, ""},
		{map[string]string{"PMIX_RANK": "0"}, true, ""},
		{map[string]string{"PMIX_RANK": "0", "SLURM_STEP_NUM_TASKS": "1"}, false, ""},
		{map[string]string{"PMIX_RANK": "0", "SLURM_STEP_NUM_TASKS": "8"}, true, ""},
		{map[string]string{"SLURM_STEP_NUM_TASKS": "1"}, false, ""},
		{map[string]string{"SLURM_STEP_NUM_TASKS": "8"}, false, "8 processes were started together (SLURM_STEP_NUM_TASKS), but not for Open MPI"},
		{map[string]string{"PMI_SIZE": "2", "PMI_RANK": "1"}, false, "srun --mpi=pmix"},
	} {
		got, err := launched(func(name string) (string, bool) { v, ok := tc.env[name]; return v, ok })
		if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%v: %v, %v; want %v, %q", tc.env, got, err, tc.want, tc.err)
		}
	}
}

// TestLibraries: what is named and is no Open MPI is refused by its name.
func TestLibraries(t *testing.T) {
	if _, err := Version(); errors.Is(err, errSystem) {
		t.Skip(err)
	}
	t.Setenv(EnvLibrary, "/no/library")
	if _, err := Version(); err == nil || !strings.Contains(err.Error(), EnvLibrary+": ") || !strings.Contains(err.Error(), "/no/library") {
		t.Errorf("error %v, want one that names /no/library", err)
	}
	if runtime.GOOS != "linux" {
		return
	}
	t.Setenv(EnvLibrary, "libc.so.6")
	if _, err := Version(); err == nil || !strings.Contains(err.Error(), "libc.so.6 is no Open MPI that is known here") {
		t.Errorf("error %v, want one that says what libc.so.6 is", err)
	}
}
