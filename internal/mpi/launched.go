package mpi

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
)

// Launched says whether a launcher has started this process as one of several ranks, by
// what it has left in the environment: mpirun of Open MPI, or PMIx (Slurm's srun
// --mpi=pmix, PRRTE). Of another MPI's launcher it says in the error that its ranks would
// not know of each other.
func Launched() (bool, error) { return launched(os.LookupEnv) }

func launched(env func(string) (string, bool)) (bool, error) {
	number := func(name string) (int, bool) {
		text, _ := env(name)
		n, err := strconv.Atoi(text)
		return n, err == nil
	}
	if n, ok := number("OMPI_COMM_WORLD_SIZE"); ok {
		return n > 1, nil
	}
	if _, ok := env("PMIX_RANK"); ok {
		n, known := number("SLURM_STEP_NUM_TASKS")
		return !known || n > 1, nil
	}
	for _, name := range []string{"PMI_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS"} {
		if n, ok := number(name); ok && n > 1 {
			return false, fmt.Errorf("%d processes were started together (%s), but not for Open MPI, so that each would do all the work: use mpirun of Open MPI, or srun --mpi=pmix", n, name)
		}
	}
	return false, nil
}

// First says whether this process is rank 0, or no rank at all, as far as the environment
// tells. It is for what is said before [Start].
func First() bool {
	for _, name := range []string{"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"} {
		if rank, ok := os.LookupEnv(name); ok {
			return rank == "0"
		}
	}
	return true
}

// EnvLibrary names the library before all other places.
const EnvLibrary = "EISFT_MPI"

// install says how to get the library.
const install = "install Open MPI (scripts/setup.sh --mpi, or on Debian and Ubuntu: apt-get install openmpi-bin), or set " + EnvLibrary + " to its libmpi"

// ErrNone is what there is to say where no library opens, errSystem where none can be.
var (
	ErrNone   = errors.New("there is no Open MPI here: " + install)
	errSystem = errors.New("eisft uses no Open MPI on " + runtime.GOOS)
)
