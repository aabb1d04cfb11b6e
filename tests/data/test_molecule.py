"""The molecule with a hinge: superposition, bodies and screw against known ones, and what moving it keeps."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

from galvae.data.molecule import INTEGRIN_MEMBRANE, LINKER, HingeMolecule, hinge_molecule, read_calphas
from galvae.data.rigid import Screw, chains, misfit, superpose, two_bodies

INTEGRIN = Path(__file__).parents[3] / "shared/data/integrin"
few = settings(max_examples=20)
seeds = st.integers(0, 10**6)
SYNTHETIC = hinge_molecule()


@pytest.fixture(scope="module", params=["synthetic", "integrin"])
def molecule(request) -> HingeMolecule:
    if request.param == "synthetic":
        return SYNTHETIC
    if not INTEGRIN.is_dir():
        pytest.skip(f"{INTEGRIN} is not here")
    return hinge_molecule(INTEGRIN, leave_out=INTEGRIN_MEMBRANE)


def two_arms(stream, *, angle: float, shift: float, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray, Screw]:
    """Two arms of a coil, one of which a known screw moves; the second conformation lies anywhere."""
    steps = np.arange(160)
    coil = np.stack([9 * np.cos(0.4 * steps), 9 * np.sin(0.4 * steps), 0.7 * steps], 1)
    coil = np.concatenate([coil[::-1] @ Rotation.from_euler("x", 40, degrees=True).as_matrix(), coil[:100]])
    axis = np.array([1.0, 0.2, 0.1]) / np.linalg.norm([1.0, 0.2, 0.1])
    screw = Screw(axis, coil[160], angle, shift)
    anywhere = Rotation.random(random_state=int(stream.integers(2**31)))
    after = screw.apply(coil, (np.arange(260) >= 160).astype(float)) + noise * stream.standard_normal(coil.shape)
    return coil, anywhere.apply(after) + 100 * stream.standard_normal(3), screw


def pdb(atoms: np.ndarray, *, residue: str = "ALA") -> str:
    line = "ATOM  {0:5d}  CA  {1} A{0:4d}    {2:8.3f}{3:8.3f}{4:8.3f}  1.00  0.00           C\n"
    return "".join(line.format(number, residue, *place) for number, place in enumerate(atoms, 1))


# Rigid motions


@few
@given(seeds)
def test_superposition_finds_a_motion_and_no_mirror_image(seed):
    stream = np.random.default_rng(seed)
    points, move = stream.standard_normal((12, 3)), stream.standard_normal(3)
    rotation = Rotation.random(random_state=seed).as_matrix()
    found, found_move = superpose(points, points @ rotation.T + move)
    np.testing.assert_allclose(found, rotation, atol=1e-10)
    np.testing.assert_allclose(found_move, move, atol=1e-10)
    mirrored, _ = superpose(points, points * [1, 1, -1])
    assert np.linalg.det(mirrored) == pytest.approx(1)


@few
@given(seeds)
def test_a_screw_is_the_motion_and_shares_of_it_add(seed):
    stream = np.random.default_rng(seed)
    rotation, move = Rotation.random(random_state=seed).as_matrix(), 30 * stream.standard_normal(3)
    points, screw = 50 * stream.standard_normal((9, 3)), Screw.of(rotation, move)
    np.testing.assert_allclose(screw.apply(points, np.ones(9)), points @ rotation.T + move, atol=1e-6)
    np.testing.assert_allclose(screw.apply(points, np.zeros(9)), points, atol=1e-9)
    part = screw.apply(screw.apply(points, np.full(9, 0.3)), np.full(9, 0.7))
    np.testing.assert_allclose(part, screw.apply(points, np.ones(9)), atol=1e-6)
    assert 0 < screw.angle <= np.pi


@few
@given(seeds, st.floats(0.4, 3.0), st.floats(-8, 8))
def test_a_known_hinge_is_found(seed, angle, shift):
    before, after, screw = two_arms(np.random.default_rng(seed), angle=angle, shift=shift, noise=0.1)
    found = HingeMolecule.between(before, after)
    near_hinge = np.arange(150, 170)
    assert not np.delete(found.share, near_hinge)[:150].any()
    assert (np.delete(found.share, near_hinge)[150:] == 1).all()
    assert found.screw.angle == pytest.approx(angle, abs=0.03)
    assert found.screw.shift == pytest.approx(shift, abs=0.6)
    assert found.screw.axis @ screw.axis == pytest.approx(1, abs=0.005)
    assert np.linalg.norm(np.cross(found.screw.point - screw.point, screw.axis)) < 1.5


# The molecules


def test_domains_are_rigid_where_straight_lines_crush_them(molecule):
    straight = molecule.atoms + molecule.at(1)
    for body in (molecule.share == 0, molecule.share == 1):
        kept = pdist(molecule.atoms[body])
        for step in (0.25, 0.5, 1):
            np.testing.assert_allclose(pdist(molecule.at(step)[body]), kept, atol=1e-9)
    turned = molecule.share == 1
    assert np.abs(pdist(straight[turned] / 2) - pdist(molecule.atoms[turned])).max() > 20


def test_the_chain_is_not_torn(molecule):
    for chain in chains(molecule.atoms):
        for step in np.linspace(0, 1, 21):
            bonds = np.linalg.norm(np.diff(molecule.at(step)[chain], axis=0), axis=1)
            assert bonds.max() < 8.5
    assert 0 < ((molecule.share > 0) & (molecule.share < 1)).sum() <= 2 * (LINKER - 1)


def test_views_are_the_atoms_seen_along_the_axis_and_do_not_turn(molecule):
    half = molecule.view(0.5)
    for step in (0, 0.3, 1):
        atoms, view = molecule.at(step), molecule.view(step)
        np.testing.assert_allclose(view.mean(0), 0, atol=1e-9)
        along = atoms @ molecule.screw.axis
        # What is left of the distances when their part along the axis is taken away.
        flat = pdist(atoms[::20]) ** 2 - pdist(along[::20, None]) ** 2
        np.testing.assert_allclose(pdist(view[::20]) ** 2, flat, atol=1e-6)
        torque = (view[:, 0] * half[:, 1] - view[:, 1] * half[:, 0]).sum()
        assert abs(torque) < 1e-9 * (half**2).sum()
        assert np.linalg.norm(view, axis=1).max() <= molecule.radius * (1 + 1e-3)


def test_the_turning_body_turns_counter_clockwise_by_the_screws_angle(molecule):
    bodies = molecule.share == 1, molecule.share == 0
    before, after = (view[:, 0] + 1j * view[:, 1] for view in (molecule.view(0), molecule.view(1)))
    turns = [np.angle(np.vdot(before[body] - before[body].mean(), after[body] - after[body].mean())) for body in bodies]
    assert np.mod(turns[0] - turns[1], 2 * np.pi) == pytest.approx(molecule.screw.angle, abs=1e-9)


def test_end_points_are_those_given():
    before, after, _ = two_arms(np.random.default_rng(0), angle=1.5, shift=3.0, noise=0.2)
    molecule = HingeMolecule.between(before, after)
    np.testing.assert_allclose(molecule.at(0), before, atol=1e-9)
    every = np.full(len(before), True)
    assert np.sqrt((misfit(molecule.at(1), after, every) ** 2).mean()) == pytest.approx(molecule.rms)
    assert molecule.rms < 1.5
    assert SYNTHETIC.rms < 0.7
    assert np.degrees(SYNTHETIC.screw.angle) == pytest.approx(100, abs=0.1)


@pytest.mark.skipif(not INTEGRIN.is_dir(), reason=f"{INTEGRIN} is not here")
def test_integrin_bends_at_its_genua():
    found = hinge_molecule(INTEGRIN, leave_out=INTEGRIN_MEMBRANE)
    assert len(found.atoms) == 1657
    assert np.degrees(found.screw.angle) == pytest.approx(174.1, abs=0.1)
    assert found.screw.shift == pytest.approx(4.8, abs=0.1)
    assert found.rms == pytest.approx(3.37, abs=0.01)
    ends = np.flatnonzero(np.diff(found.share > 0.5))
    np.testing.assert_array_equal(ends + 1, [597, 965, 965 + 459])  # alpha's genu, alpha's end, beta's genu
    genua = found.atoms[ends[[0, 2]]] - found.screw.point
    assert (np.linalg.norm(np.cross(genua, found.screw.axis), axis=1) < 10).all()
    _, after = read_calphas(INTEGRIN / "full_length_int1_CA.pdb.gz")
    whole = hinge_molecule(INTEGRIN)
    assert whole.rms < 3.3
    assert np.sqrt((misfit(whole.at(1), after, np.full(1770, True)) ** 2).mean()) == pytest.approx(whole.rms)


# Files


def test_alternatives_calcium_and_later_models_are_left_out(tmp_path):
    atoms = np.arange(9.0).reshape(3, 3)
    good = pdb(atoms).splitlines(keepends=True)
    other = good[1][:16] + "B" + good[1][17:]
    calcium = good[2].replace(" CA  ALA", "CA    CA").replace("ATOM  ", "HETATM")
    (tmp_path / "a.pdb").write_text("".join(["REMARK x\n", *good[:2], other, good[2], calcium, "ENDMDL\n", *good]))
    names, found = read_calphas(tmp_path / "a.pdb")
    np.testing.assert_array_equal(found, atoms)
    assert names[0] == "AALA   1 "


def test_a_folder_of_two_files_is_read_in_the_order_of_names(tmp_path):
    before, after, _ = two_arms(np.random.default_rng(1), angle=1.0, shift=0.0)
    (tmp_path / "1.pdb").write_text(pdb(before - before.mean(0)))
    with gzip.open(tmp_path / "2.pdb.gz", "wt") as file:
        file.write(pdb(after - after.mean(0)))
    molecule = hinge_molecule(tmp_path)
    np.testing.assert_allclose(molecule.atoms, before - before.mean(0), atol=1e-3)
    assert molecule.name == "1 to 2"
    assert len(hinge_molecule(tmp_path, leave_out=[(1, 10), (251, 260)]).atoms) == 240


def test_what_shows_no_hinge_is_refused(tmp_path):
    before, after, _ = two_arms(np.random.default_rng(2), angle=1.0, shift=0.0)
    with pytest.raises(FileNotFoundError, match="0 PDB files"):
        hinge_molecule(tmp_path)
    (tmp_path / "1.pdb").write_text(pdb(before))
    (tmp_path / "2.pdb").write_text(pdb(before, residue="GLY"))
    with pytest.raises(ValueError, match="not the 260"):
        hinge_molecule(tmp_path)
    (tmp_path / "2.pdb").write_text(pdb(before))
    with pytest.raises(ValueError, match="no hinge"):
        hinge_molecule(tmp_path)
    (tmp_path / "2.pdb").write_text("ATOM\n")
    with pytest.raises(ValueError, match="0 C-alpha atoms"):
        hinge_molecule(tmp_path)
    (tmp_path / "2.pdb").write_text(pdb(after[:2]).replace("A   1    ", "A   1    x"))
    with pytest.raises(ValueError, match="no number"):
        read_calphas(tmp_path / "2.pdb")


def test_bodies_do_not_depend_on_the_frames():
    before, after, _ = two_arms(np.random.default_rng(3), angle=2.0, shift=1.0)
    body = two_bodies(before, after)
    moved = Rotation.random(random_state=1).apply(after) + 30
    np.testing.assert_array_equal(two_bodies(moved, before), body)
    assert body.sum() <= 130
