"""Laws of pixel-to-sky directions, then real files of three surveys."""

import csv
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from galvae.moments import adaptive_moments
from galvae.sky import local_sky

DATA = Path(__file__).parents[2] / "shared" / "data"

angles = st.floats(0, 359.999)
declinations = st.one_of(st.floats(-89, 89), st.sampled_from([89.9999, -89.9999]))
parities = st.sampled_from([-1, 1])


def field(*, turn=0.0, parity=-1, dec=20.0, ra=150.0, scale=0.4, form="CD", frame=None, ctype="TAN", size=64):
    """A header whose North is `turn` degrees counter-clockwise from up; parity -1: East is left of it."""
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    north, east = np.array([-sin, cos]), parity * np.array([cos, sin])
    matrix = np.array([east, north]) * scale / 3600
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = f"RA---{ctype}", f"DEC--{ctype}"
    header["CRVAL1"], header["CRVAL2"] = ra, dec
    header["CRPIX1"] = header["CRPIX2"] = (size + 1) / 2
    header["CUNIT1"] = header["CUNIT2"] = "deg"
    if form == "PC":
        header["CDELT1"], header["CDELT2"] = -scale / 3600, scale / 3600
        matrix /= np.array([[-scale / 3600], [scale / 3600]])
    for i in (1, 2):
        for j in (1, 2):
            header[f"{form}{i}_{j}"] = matrix[i - 1, j - 1]
    if frame:
        header["RADESYS"] = frame
    return header


def parity(sky):
    """-1 as the sky is seen, East left of North; +1 mirrored."""
    return np.sign(np.linalg.det(sky.jacobian))


def difference(a, b, period=360):
    return np.abs((np.asarray(a) - b + period / 2) % period - period / 2)


@given(angle=angles, turn=angles, parity_=parities, form=st.sampled_from(["CD", "PC"]))
def test_position_angle_follows_the_fields_rotation_and_parity(angle, turn, parity_, form):
    text = field(turn=turn, parity=parity_, form=form).tostring()
    expected = (angle - 90 - turn) * (1 if parity_ < 0 else -1)
    sky = local_sky(text, 31.5, 31.5)
    assert difference(sky.position_angle(angle), expected) < 1e-6
    assert parity(sky) == parity_


@given(
    angle=angles,
    turn=angles,
    parity_=parities,
    dec=declinations,
    x=st.floats(-300, 300),
    y=st.floats(-300, 300),
)
def test_angle_agrees_with_two_points_on_the_sky(angle, turn, parity_, dec, x, y):
    header = field(turn=turn, parity=parity_, dec=dec)
    step = 0.1
    here, there = WCS(header).pixel_to_world(
        [x - step * np.cos(np.radians(angle)), x + step * np.cos(np.radians(angle))],
        [y - step * np.sin(np.radians(angle)), y + step * np.sin(np.radians(angle))],
    )
    middle = WCS(header).pixel_to_world(x, y)
    sky = local_sky(header.tostring(), x, y)
    got = sky.position_angle(angle)
    assert difference(got, middle.position_angle(there).deg) < 1e-3
    assert difference(got, middle.position_angle(here).deg + 180) < 1e-3
    assert SkyCoord(sky.ra, sky.dec, unit="deg").separation(middle).arcsec < 1e-6


@given(pa=angles, turn=angles, parity_=parities, dec=declinations)
def test_angle_in_image_undoes_position_angle(pa, turn, parity_, dec):
    sky = local_sky(field(turn=turn, parity=parity_, dec=dec).tostring(), 10.0, 50.0)
    assert difference(sky.position_angle(sky.angle_in_image(pa)), pa) < 1e-9


@given(angle=st.one_of(st.floats(-1000, 1000), st.sampled_from([-1e-17, 90.0, 270.0, 450.0])), turn=angles)
def test_axes_are_modulo_180_and_directions_modulo_360(angle, turn):
    sky = local_sky(field(turn=turn).tostring(), 3.0, 4.0)
    assert 0 <= sky.position_angle(angle, axial=True) < 180
    for got in (sky.position_angle(angle), sky.angle_in_image(angle)):
        assert 0 <= got < 360
    assert difference(sky.position_angle(angle), sky.position_angle(angle, axial=True), 180) < 1e-9


def test_unequal_and_sheared_pixels_go_through_the_jacobian():
    header = field()
    header["CD1_1"] *= 2
    header["CD1_2"] = 1e-5
    matrix = np.array([[header["CD1_1"], 1e-5], [0, header["CD2_2"]]])
    east, north = matrix @ [np.cos(0.6), np.sin(0.6)]
    got = local_sky(header.tostring(), 31.5, 31.5)
    assert difference(got.position_angle(np.degrees(0.6)), np.degrees(np.arctan2(east, north))) < 1e-6
    assert difference(got.angle_in_image(got.position_angle(34.0)), 34.0) < 1e-9
    assert got.jacobian.tolist() == [pytest.approx([-0.8, 0.036], rel=1e-6), pytest.approx([0, 0.4], abs=1e-6)]


def test_sip_is_applied():
    header = field(ctype="TAN-SIP", dec=0.0)  # on the equator, where meridians do not converge
    plain = local_sky(field(dec=0.0).tostring(), 60.0, 31.5)
    header["A_ORDER"] = header["B_ORDER"] = 2
    header["B_2_0"] = 0.002  # moves up by 0.002 u^2, so a row is tilted by 0.004 u
    bent = local_sky(header.tostring(), 60.0, 31.5)
    assert bent.dec - plain.dec == pytest.approx(0.002 * 28.5**2 * 0.4 / 3600, rel=1e-3)
    assert difference(bent.position_angle(0.0), 270 + np.degrees(np.arctan(0.004 * 28.5))) < 1e-3


def test_other_frames_come_out_as_icrs():
    centre = SkyCoord(150.0, 20.0, unit="deg")
    galactic = field(ra=centre.galactic.l.deg, dec=centre.galactic.b.deg)
    galactic["CTYPE1"], galactic["CTYPE2"] = "GLON-TAN", "GLAT-TAN"
    fk5 = field(ra=centre.fk5.ra.deg, dec=centre.fk5.dec.deg, frame="FK5")
    old = centre.transform_to("fk4")
    fk4 = field(ra=old.ra.deg, dec=old.dec.deg, frame="FK4")
    sky = local_sky([h.tostring() for h in (galactic, fk5, fk4, field())], 31.5, 31.5)
    assert (SkyCoord(sky.ra, sky.dec, unit="deg").separation(centre).arcsec < 1e-4).all()
    up = centre.directional_offset_by(0 * u.deg, 0 * u.arcsec).galactic
    pole = SkyCoord(0, 90, unit="deg", frame="galactic")
    assert difference(sky.position_angle(90.0)[0], up.icrs.position_angle(pole.icrs).deg) < 1e-5
    assert (parity(sky) == -1).all()


@pytest.mark.parametrize(("written", "frame"), [
    ("ICRF", "icrs"), ("icrs", "icrs"), ("FK5/ICRS", "icrs"), ("J2000", "fk5"), ("J2000.0", "fk5"), ("fk5", "fk5"),
])  # fmt: skip
def test_what_programs_write_for_a_frame_is_known(written, frame):
    centre = SkyCoord(150.0, 20.0, unit="deg", frame=frame)
    sky = local_sky([field(frame=written).tostring(), field().tostring()], 31.5, 31.5)
    assert SkyCoord(sky.ra[0], sky.dec[0], unit="deg").separation(centre).arcsec < 1e-3
    assert (sky.ra[1], sky.dec[1]) == pytest.approx((150, 20), abs=1e-9)


def test_a_frame_that_is_not_of_the_sky_is_unknown_and_harms_no_other():
    solar = field()
    solar["CTYPE1"], solar["CTYPE2"] = "HPLN-TAN", "HPLT-TAN"
    moon = field()
    moon["CTYPE1"], moon["CTYPE2"] = "SELN-TAN", "SELT-TAN"
    headers = [solar, moon, field(frame="NONSENSE"), field(frame="GAPPT"), field()]
    sky = local_sky([header.tostring() for header in headers], 31.5, 31.5)
    assert np.isnan(sky.ra[:4]).all()
    assert sky.ra[4] == pytest.approx(150, abs=1e-9)


def test_ecliptic_coordinates_come_out_as_icrs():
    header = field(ra=150.0, dec=20.0, frame="ICRS")
    header["CTYPE1"], header["CTYPE2"] = "ELON-TAN", "ELAT-TAN"
    sky = local_sky(header.tostring(), 31.5, 31.5)
    centre = SkyCoord(150.0, 20.0, unit="deg", frame="barycentricmeanecliptic")
    assert SkyCoord(sky.ra, sky.dec, unit="deg").separation(centre).arcsec < 0.1
    pole = SkyCoord(0, 90, unit="deg", frame="barycentricmeanecliptic").icrs
    assert difference(sky.position_angle(90.0), centre.icrs.position_angle(pole).deg) < 1e-3


def test_swapped_axes_and_text_with_line_ends():
    header = field(turn=30.0)
    swapped = header.copy()
    for key in ("CTYPE", "CRVAL"):
        swapped[f"{key}1"], swapped[f"{key}2"] = header[f"{key}2"], header[f"{key}1"]
    for j in (1, 2):
        swapped[f"CD1_{j}"], swapped[f"CD2_{j}"] = header[f"CD2_{j}"], header[f"CD1_{j}"]
    one = local_sky([header.tostring(), swapped.tostring(sep="\n")], 5.0, 7.0)
    assert one.ra[0] == pytest.approx(one.ra[1], abs=1e-10)
    np.testing.assert_allclose(one.jacobian[0], one.jacobian[1], atol=1e-9)


def test_many_galaxies_equal_each_alone_and_unknown_is_nan():
    singular = field()
    singular["CD2_1"], singular["CD2_2"] = singular["CD1_1"], singular["CD1_2"]
    no_sky = fits.Header({"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"})
    unheard_of = field(ctype="XYZ")
    bad = ["", singular.tostring(), no_sky.tostring(), unheard_of.tostring(), "not a header"]
    texts = [field(turn=10).tostring(), *bad, field(turn=70).tostring()] * 2
    x, y = np.arange(14.0), np.arange(14.0)[::-1]
    sky = local_sky(texts, x, y)
    assert sky.ra.shape == (14,)
    assert sky.jacobian.shape == (14, 2, 2)
    known = np.isfinite(sky.ra)
    assert known.tolist() == [True, *[False] * 5, True] * 2
    assert np.isnan(sky.position_angle(5.0)[~known]).all()
    assert np.isnan(sky.angle_in_image(5.0)[~known]).all()
    for row in np.flatnonzero(known):
        alone = local_sky(texts[row], x[row], y[row])
        assert (alone.ra, alone.dec) == (sky.ra[row], sky.dec[row])
        assert alone.position_angle(5.0) == sky.position_angle(5.0)[row]
        assert alone.angle_in_image(5.0) == sky.angle_in_image(5.0)[row]


def test_errors_turn_with_the_field():
    straight, turned, half = (local_sky(field(turn=t).tostring(), 31.5, 31.5) for t in (0, 90, 45))
    apart = np.diag([4.0, 1.0])
    assert straight.errors(apart) == pytest.approx((0.8, 0.4), rel=1e-6)
    assert turned.errors(apart) == pytest.approx((0.4, 0.8), rel=1e-6)
    assert half.errors(apart) == pytest.approx((0.4 * np.sqrt(2.5),) * 2, rel=1e-6)


@pytest.mark.parametrize("sign", [1, -1])
def test_errors_that_go_together_cancel_on_one_axis_of_a_field_turned_by_half_a_right_angle(sign):
    east, north = local_sky(field(turn=45).tostring(), 31.5, 31.5).errors(np.array([[1.0, sign], [sign, 1.0]]))
    small, large = sorted((float(east), float(north)))
    assert small == pytest.approx(0, abs=1e-4)
    assert large == pytest.approx(0.4 * np.sqrt(2), rel=1e-6)


@pytest.mark.parametrize(("turn", "parity_"), [(0, -1), (20, -1), (75, 1)])
def test_errors_on_the_sky_by_monte_carlo(turn, parity_):
    """Scattered positions through the whole WCS, no Jacobian; far from the equator, where RA alone means little."""
    header = field(turn=turn, parity=parity_, dec=84.0)
    covariance = np.array([[4.0, -1.2], [-1.2, 0.7]])
    x, y = np.random.default_rng(0).multivariate_normal([31.5, 20.0], covariance, 20_000).T
    scattered, sky = local_sky(header.tostring(), x, y), local_sky(header.tostring(), 31.5, 20.0)
    east = difference(scattered.ra, sky.ra) * np.cos(np.radians(scattered.dec)) * 3600
    north = (scattered.dec - sky.dec) * 3600
    assert sky.errors(covariance) == pytest.approx((np.sqrt((east**2).mean()), north.std()), rel=0.02)


def _central_segment(image):
    """Pixels of the galaxy in the middle, above 3 sigma."""
    from photutils.background import MADStdBackgroundRMS, MedianBackground
    from photutils.segmentation import detect_sources

    image = np.nan_to_num(np.asarray(image, float))
    image = image - MedianBackground()(image)
    segments = detect_sources(image, 3 * MADStdBackgroundRMS()(image), 20)
    middle = segments.data[image.shape[0] // 2, image.shape[1] // 2]
    assert middle
    return image, segments.data == middle


def _axis(image, mask):
    """Centre and major axis, degrees counter-clockwise from +x, by plain second moments of a segment."""
    y, x = np.nonzero(mask)
    weight = image[mask].clip(0)
    x0, y0 = np.average(x, weights=weight), np.average(y, weights=weight)
    xx, yy, xy = (np.average(v, weights=weight) for v in ((x - x0) ** 2, (y - y0) ** 2, (x - x0) * (y - y0)))
    return x0, y0, np.degrees(0.5 * np.arctan2(2 * xy, xx - yy))


@pytest.mark.skipif(not (DATA / "one-galaxy-three-surveys").is_dir(), reason="needs shared/data")
def test_three_surveys_give_the_same_position_angle():
    found, parities_ = {}, {}
    for survey in ("DES", "PS1", "SDSS"):
        with fits.open(DATA / "one-galaxy-three-surveys" / f"{survey}_r.fits") as hdus:
            image, header = np.nan_to_num(np.asarray(hdus[0].data, float)), hdus[0].header
        sky = local_sky(header.tostring(), 120, 120)
        half = int(20 / np.sqrt(np.abs(np.linalg.det(sky.jacobian))))  # the inner 20 arcsec, whatever the pixels
        inner = (image - np.median(image))[None, 120 - half : 121 + half, 120 - half : 121 + half]
        angle = np.degrees(adaptive_moments(inner).angle[0])
        found[survey], parities_[survey] = float(sky.position_angle(angle, axial=True)), int(parity(sky))
    # PS1 keeps its parity in the legacy keywords PC001001 ...: astropy honours them.
    assert parities_ == {"DES": 1, "PS1": -1, "SDSS": -1}
    assert difference(found["PS1"], found["DES"], 180) < 1, found
    assert difference(found["SDSS"], found["DES"], 180) < 4, found  # axis ratio 0.86, and a broader PSF


@pytest.mark.skipif(not (DATA / "sdss-cutouts").is_dir(), reason="needs shared/data")
def test_sdss_position_angles_and_positions():
    with open(DATA / "sdss-cutouts" / "catalog.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if float(row["axis_ratio_sep"]) < 0.7]
    off, away = [], []
    for row in rows:
        with fits.open(DATA / "sdss-cutouts" / f"{row['id']}_r.fits") as hdus:
            image, header = hdus[0].data, hdus[0].header
        x, y, angle = _axis(*_central_segment(image))
        sky = local_sky(header.tostring(), x, y)
        off.append(difference(sky.position_angle(angle, axial=True), float(row["pa_deg_EofN_sep"]), 180))
        truth = SkyCoord(float(row["ra_deg"]), float(row["dec_deg"]), unit="deg")
        away.append(SkyCoord(sky.ra, sky.dec, unit="deg").separation(truth).arcsec)
    assert len(rows) == 27
    assert np.median(off) < 3
    assert np.median(away) < 0.4


@pytest.mark.parametrize("frame", ["ICRS", "FK5"])
def test_a_position_that_was_not_measured_is_nan_and_harms_no_other(frame):
    text = field(frame=frame).tostring()
    sky = local_sky(text, [np.nan, 3.0], [1.0, 4.0])
    assert np.isnan([sky.ra[0], sky.dec[0], sky.position_angle(0.0)[0]]).all()
    alone = local_sky(text, 3.0, 4.0)
    assert (sky.ra[1], sky.dec[1]) == (alone.ra, alone.dec)
