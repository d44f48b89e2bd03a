"""Common English words of three to eight letters, which the renderer prints on its pictures."""

WORDS: tuple[str, ...] = tuple(
    """
able about above across action actor adult after again age agree air airport alarm album alive
all alone along also always amount anchor angle animal ankle answer any apart apple april apron
arch area arm armour around arrive arrow art artist ask atlas aunt autumn away baby back bacon
badge bag bake baker balance ball balloon bamboo banana band bank bar bargain bark barn barrel
base basic basket bath beach bead beam bean bear beard beat beauty become bed bee beef begin
behind bell belong below belt bench bend berry best better between big bike bill bin bird birth
biscuit bit bite bitter blade blanket blind block blood bloom board boat body boil bold bolt bone
book boot border borrow boss both bottle bottom bowl box boy brain brake branch brave bread break
breath brick bridge brief bright bring broad broom brother brush bubble bucket build bulb burger
burn bus bush busy butter button buy cabin cable cactus cage cake call calm camel camera camp can
canal candle candy canoe canvas cap car carbon card care careful carpet carrot carry cart case
cash castle cat catch cattle cause cave ceiling cell cement centre century cereal chain chair
chalk chance change chapter charge chart cheap check cheek cheese cherry chess chest chicken
chief child chin choice choose circus city claim clap class claw clay clean clear clever cliff
climb clock close cloth cloud clown club coach coal coast coat cobweb code coffee coin cold
collar college colony comb come comfort common compass concert cook cool copper copy coral cord
core corn corner correct cost cotton couch cough council count country couple course court cousin
cover cow crab crack craft crane cream create credit creek crew cricket crop crowd crown cruise
crust cry cube culture cup curl current curtain curve cushion custom cut cycle daily dairy daisy
damp dance danger dark data date dawn day deal dear debt decide deep deer degree delay deliver
demand dentist depend depth desert design desk detail device diamond dictate diet dig dinner dirt
discover dish dive divide doctor dog doll dolphin donkey door double dough down dozen dragon draw
drawer dream dress drift drill drink drive drop drum dry duck dull dust duty each eagle ear early
earn earth east easy eat echo edge effect effort egg eight either elbow elder electric else email
empty end enemy energy engine enjoy enough enter entry equal error escape even evening event ever
every exact example excite exit expect expert extra eye fabric face fact factory fade fair fall
false family famous fan fancy far farm farmer fashion fast father fault favour fear feast feather
feed feel fellow fence ferry fever few field fifty fig fight figure fill film final find fine
finger finish fire firm first fish fist fit five fix flag flame flash flat flavour flesh flight
float flock floor flour flow flower flute fly foam fog fold folk follow food fool foot forest
forget fork form fortune forward four fox frame free freedom freeze fresh friday friend frog front
frost fruit fuel full fun funny fur future gain galaxy gallery game gap garage garden garlic gas
gate gather general gentle ghost giant gift ginger giraffe girl give glad glass globe glove glue
goal goat gold golf good goose grain grand grape graph grass gravity great green greet grey grill
grip ground group grow guard guess guest guide guitar habit hair half hall hammer hand handle hang
happen happy harbour hard harvest hat have hawk head health hear heart heat heavy hedge heel
height helmet help herb hero hidden high hill hint history hit hobby hold hole holiday holy home
honest honey hook hope horn horse hospital hot hotel hour house huge human humble hundred hungry
hunt hurry hurt husband ice idea idle image inch include income index indoor infant ink insect
inside invite iron island item ivory jacket jam january jar jaw jazz jeans jelly jewel job join
joke journey joy judge juice july jump june jungle jury just keep kettle key kick kid kidney kind
king kiss kitchen kite kitten knee knife knock knot know label labour lace ladder lady lake lamb
lamp land lane language lantern large laser last late laugh laundry law lawn lawyer layer lazy
lead leaf learn leather leave lecture left leg legend lemon lend length lens lesson letter lettuce
level lever library lid life lift light like limb lime limit line linen link lion lip liquid list
listen little live lizard load loaf local lock log lonely long look loose lorry lose loud love low
loyal luck lucky luggage lunch lung machine magic magnet mail main make male manage mango manner
many map marble march margin mark market marry mask master match mate matter maximum may meadow
meal mean measure meat medal media medicine meet melon melt member memory mend menu mercy message
metal method middle midnight might mild mile milk mill mind mine minus minute mirror miss mist mix
mobile model modern moment monday money monkey month mood moon more morning moss most mother motor
mountain mouse mouth move movie much mud muffin multiply muscle museum mushroom music mystery nail
name narrow nation native nature near neat neck need needle nephew nerve nest net never new news
next nice night nine noble nod noise none noodle noon normal north nose note nothing notice novel
now number nurse nut oak oar oasis object ocean october off offer office often oil old olive once
onion only open opera opinion option orange orbit orchard order organ other otter out oven over
owl own owner oxygen oyster pack paddle page pain paint pair palace palm pan panda panel panic
paper parade parcel parent park parrot part partner party pass past pasta paste pastry path
patient pattern pause pay peace peach peak peanut pear pearl pebble pedal pen pencil penguin
people pepper perfect period person pet phone photo piano picnic picture pie piece pig pigeon
pillow pilot pin pine pink pipe pirate pizza place plain plan plane planet plant plastic plate
play please plenty plum plus pocket poem poet point polar police polite pond pony pool poor
popular port post pot potato pottery pour powder power praise present press pretty price pride
prince print prison prize problem profit program promise proof proper protect proud public pull
pump pumpkin pupil puppet puppy pure purple purse push puzzle quality quarter queen question queue
quick quiet quilt quite quiz rabbit race radar radio radish rail rain rainbow raise ranch range
rapid rare raven reach read ready real reason receipt recipe record red reed reef region relax
remain remember remind rent repair repeat reply report rescue rest result return reward rhythm
ribbon rice rich ride right ring ripe rise risk river road roast robin robot rock rocket roll roof
room root rope rose rotate rough round route row royal rubber rug ruin rule ruler run rural rust
saddle safe sail sailor salad salmon salt same sand sandal satin sauce save say scale scarf scene
school science scissors score scout screen screw sea seal search season seat second secret section
seed seem select sell send sense serve seven shade shadow shake shallow shape share shark sharp
sheep sheet shelf shell shelter shield shift shine ship shirt shock shoe shop shore short shoulder
shout show shower shrimp shut shy sick side sight sign signal silence silk silver simple since
sing sink sister site six size skate sketch skill skin skirt sky sleep sleeve slice slide slim
slip slope slow small smart smell smile smoke smooth snack snail snake snow soap soccer social
sock soda sofa soft soil soldier solid solve some son song soon sorry sort sound soup south space
spade spare spark speak special speech speed spell spend spice spider spin spirit splash split
spoon sport spot spray spread spring square squirrel stable stadium staff stage stair stamp stand
star start state station statue stay steady steak steam steel steep stem step stick still stone
stool stop store storm story stove straight strange straw stream street strike string stripe
strong student study style subject subway success sudden sugar suit summer sun sunday sunny supper
supply sure surface surprise swan sweet swift swim swing switch sword symbol syrup system table
tail take tale talent talk tall tame tank tap tape target task taste tax taxi tea teach teacher
team tear teeth tell temper temple ten tennis tent term test text thank theatre theme thick thief
thin thing think third thirty thorn thread three throat throne thumb thunder ticket tide tidy tie
tiger tight tile timber time tiny tip tired tissue title toast today toe toffee together toilet
tomato tongue tonight tool tooth top topic torch total touch tough tour towel tower town toy track
trade traffic trail train travel tray treasure treat tree trend trial tribe trick trip trolley
trophy trouble truck true trumpet trunk trust truth try tube tuesday tulip tune tunnel turkey turn
turtle twelve twenty twin twist two type tyre ugly umbrella uncle under uniform union unit until
upper urban use useful usual valley value van vanilla vase vast vehicle velvet verb very vessel
vest victory video view village vine violet violin virus visit visitor vitamin voice volcano vote
vowel voyage wage wagon waist wait wake walk wall wallet walnut want war warm warn wash wasp waste
watch water wave wax way weak wealth wear weather web wedding week weigh welcome well west wet
whale wheat wheel when whisper whistle white whole why wide width wild will win wind window wine
wing winner winter wire wise wish witch wolf woman wonder wood wool word work worker world worm
worry worth wound wrap wrist write wrong yacht yard year yellow yes yogurt young youth
zebra zero zinc zone zoo
""".split()  # noqa: SIM905
)
