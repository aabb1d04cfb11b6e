"""The experiments of Bepler et al. 2019: data, trainings, figures and the table that holds them beside the paper's."""
